// The tables and rules in PostgreSQL.

import pg from 'pg';

const TABLES = `
  CREATE TABLE customers (id bigserial PRIMARY KEY, created_ms bigint NOT NULL);
  CREATE TABLE customer_ids (
    kind text NOT NULL, value text NOT NULL, customer_id bigint NOT NULL REFERENCES customers,
    PRIMARY KEY (kind, value));
  CREATE INDEX ids_of_customer ON customer_ids (customer_id);
  CREATE TABLE events (
    id bigserial PRIMARY KEY, customer_id bigint NOT NULL REFERENCES customers,
    dedupe_key text NOT NULL UNIQUE, type text NOT NULL, occurred_ms bigint NOT NULL, received_ms bigint NOT NULL,
    campaign text, status text, properties jsonb NOT NULL);
  CREATE INDEX events_of_customer ON events (customer_id, occurred_ms);
  CREATE INDEX events_of_campaign ON events (campaign);`;

// Named, so that each connection prepares them once.  Arrays, so that a batch takes as many as one event.
const LOOK_UP = {
  name: 'look-up',
  text: `SELECT kind, value, customer_id, NULL AS seen
         FROM unnest($1::text[], $2::text[]) AS sent (kind, value) JOIN customer_ids USING (kind, value)
         UNION ALL
         SELECT NULL, NULL, NULL, dedupe_key FROM events WHERE dedupe_key = ANY ($3::text[])
         UNION ALL
         SELECT NULL, NULL, nextval('customers_id_seq'), NULL FROM generate_series(1, cardinality($3::text[]))`,
};
const WRITE = {
  name: 'write',
  text: `WITH
           new_customers AS (INSERT INTO customers SELECT *, $12::bigint FROM unnest($1::bigint[])),
           new_ids AS (INSERT INTO customer_ids SELECT * FROM unnest($2::text[], $3::text[], $4::bigint[]))
         INSERT INTO events
           (customer_id, dedupe_key, type, occurred_ms, received_ms, campaign, status, properties)
         SELECT * FROM unnest($5::bigint[], $6::text[], $7::text[], $8::bigint[], $13::bigint[], $9::text[],
           $10::text[], $11::jsonb[])`,
};
const UNIQUE_VIOLATION = '23505';

const nameOf = ([kind, value]) => `${kind}=${value}`;

/** Decides whose event each one is, given what LOOK_UP found. */
function resolve(events, rows) {
  const seen = new Set();
  const holders = new Map();
  const unused = [];
  for (const { kind, value, customer_id: customer, seen: key } of rows) {
    if (key !== null) seen.add(key);
    else if (kind !== null) holders.set(nameOf([kind, value]), customer);
    else unused.push(customer);
  }
  const plan = { events: [], owners: [], ids: [], idOwners: [], customers: [], merges: [] };
  for (const event of events) {
    if (seen.has(event.key)) continue;
    seen.add(event.key);
    const held = [...new Set(event.ids.map((id) => holders.get(nameOf(id))).filter((each) => each !== undefined))]
      .sort((one, other) => one - other);
    if (held.length === 0) {
      held.push(unused.pop());
      plan.customers.push(held[0]);
    }
    const [owner, ...others] = held;
    for (const other of others) plan.merges.push([owner, other]);
    for (const id of event.ids) {
      if (!holders.has(nameOf(id))) {
        plan.ids.push(id);
        plan.idOwners.push(owner);
      }
      holders.set(nameOf(id), owner);
    }
    plan.events.push(event);
    plan.owners.push(owner);
  }
  return plan;
}

/** Everything that is new, in one statement, which is a transaction by itself. */
function write(client, plan) {
  const column = (name) => plan.events.map((event) => event[name]);
  const values = [
    plan.customers, plan.ids.map(([kind]) => kind), plan.ids.map(([, value]) => value), plan.idOwners,
    plan.owners, column('key'), column('type'), column('occurred'), column('campaign'), column('status'),
    column('properties'), Date.now(), column('received'),
  ];
  return client.query({ ...WRITE, values });
}

async function writeAndMerge(client, plan) {
  await client.query('BEGIN');
  try {
    await write(client, plan);
    for (const merge of plan.merges) {
      await client.query('UPDATE events SET customer_id = $1 WHERE customer_id = $2', merge);
      await client.query('UPDATE customer_ids SET customer_id = $1 WHERE customer_id = $2', merge);
      await client.query('DELETE FROM customers WHERE id = $1', [merge[1]]);
    }
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK');
    throw error;
  }
}

async function storeWith(client, events) {
  const ids = events.flatMap((event) => event.ids);
  const values = [ids.map(([kind]) => kind), ids.map(([, value]) => value), events.map((event) => event.key)];
  const { rows } = await client.query({ ...LOOK_UP, values });
  const plan = resolve(events, rows);
  if (plan.merges.length > 0) await writeAndMerge(client, plan);
  else if (plan.events.length > 0) await write(client, plan);
}

/** Creates the tables and returns store(events), which adds them in one transaction. */
export async function openPostgres() {
  const pool = new pg.Pool({ max: 16 });
  await pool.query(TABLES);

  return async function store(events) {
    const client = await pool.connect();
    try {
      // Again where another request stored the same event or customer a moment earlier.
      for (let attempt = 0; ; attempt += 1) {
        try {
          await storeWith(client, events);
          return;
        } catch (error) {
          if (error.code !== UNIQUE_VIOLATION || attempt === 4) throw error;
        }
      }
    } finally {
      client.release();
    }
  };
}
