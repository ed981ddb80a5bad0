// The tables and rules in SQLite.

import Database from 'better-sqlite3';

const TABLES = `
  CREATE TABLE customers (id INTEGER PRIMARY KEY, created_ms INTEGER NOT NULL);
  CREATE TABLE customer_ids (
    kind TEXT NOT NULL, value TEXT NOT NULL, customer_id INTEGER NOT NULL REFERENCES customers,
    PRIMARY KEY (kind, value)) WITHOUT ROWID;
  CREATE INDEX ids_of_customer ON customer_ids (customer_id);
  CREATE TABLE events (
    id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers, dedupe_key TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL, occurred_ms INTEGER NOT NULL, received_ms INTEGER NOT NULL,
    campaign TEXT, status TEXT, properties TEXT NOT NULL);
  CREATE INDEX events_of_customer ON events (customer_id, occurred_ms);
  CREATE INDEX events_of_campaign ON events (campaign);`;

/** Opens the file and returns store(events), which adds them in one transaction. */
export function openSqlite(file) {
  const db = new Database(file);
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = FULL');
  db.pragma('foreign_keys = ON');
  db.exec(TABLES);

  const seen = db.prepare('SELECT 1 FROM events WHERE dedupe_key = ?');
  const holder = db.prepare('SELECT customer_id FROM customer_ids WHERE kind = ? AND value = ?').pluck();
  const addCustomer = db.prepare('INSERT INTO customers (created_ms) VALUES (?)');
  const addId = db.prepare('INSERT INTO customer_ids VALUES (?, ?, ?)');
  const addEvent = db.prepare(`INSERT INTO events
    (customer_id, dedupe_key, type, occurred_ms, received_ms, campaign, status, properties)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)`);
  const merges = ['UPDATE events', 'UPDATE customer_ids'].map((update) =>
    db.prepare(`${update} SET customer_id = ? WHERE customer_id = ?`));
  const removeCustomer = db.prepare('DELETE FROM customers WHERE id = ?');

  function findCustomer(event) {
    const held = event.ids.map(([kind, value]) => holder.get(kind, value));
    const holders = [...new Set(held.filter((each) => each !== undefined))].sort((a, b) => a - b);
    const customer = holders[0] ?? addCustomer.run(event.received).lastInsertRowid;
    for (const other of holders.slice(1)) {
      for (const merge of merges) merge.run(customer, other);
      removeCustomer.run(other);
    }
    event.ids.forEach(([kind, value], at) => {
      if (held[at] === undefined) addId.run(kind, value, customer);
    });
    return customer;
  }

  return db.transaction((events) => {
    for (const event of events) {
      if (seen.get(event.key)) continue;
      addEvent.run(findCustomer(event), event.key, event.type, event.occurred, event.received,
        event.campaign, event.status, event.properties);
    }
  }).immediate;
}
