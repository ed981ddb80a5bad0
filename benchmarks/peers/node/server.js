// The same tables and rules on Node.js: fastify, one transaction for each request.
//
// A repeat is recognised and changes nothing, the IDs lead to the customer, unknown customers are
// created, customers who share an ID become one.  Durable like the service.  It has no
// authentication and keeps nothing that it refuses.
//
// node server.js PORT sqlite FILE
// node server.js PORT postgresql     (libpq's variables PGHOST, PGUSER, PGDATABASE say where)

import { createHash } from 'node:crypto';
import Fastify from 'fastify';
import { openPostgres } from './postgres.js';
import { openSqlite } from './sqlite.js';

const schema = {
  type: 'object',
  required: ['customer_ids', 'event_type'],
  properties: {
    customer_ids: {
      type: 'object',
      minProperties: 1,
      additionalProperties: false,
      properties: {
        registered: { type: 'string', minLength: 1 },
        cookie: { type: 'string', minLength: 1 },
      },
    },
    event_type: { type: 'string', minLength: 1 },
    timestamp: { type: 'number' },
    properties: { type: 'object' },
  },
};
const batchSchema = {
  type: 'object',
  required: ['commands'],
  properties: {
    commands: {
      type: 'array',
      minItems: 1,
      maxItems: 50,
      items: {
        type: 'object',
        required: ['name', 'data'],
        properties: { name: { const: 'customers/events' }, command_id: { type: 'string' }, data: schema },
      },
    },
  },
};

/** What is stored of one event, in the order of the columns; the customer is found by the database. */
function read(sent) {
  const properties = sent.properties ?? {};
  const now = Date.now();
  return {
    ids: Object.entries(sent.customer_ids),
    key: createHash('sha256').update(JSON.stringify(sent)).digest('hex'),
    type: sent.event_type,
    occurred: sent.timestamp === undefined ? now : Math.round(sent.timestamp * 1000),
    received: now,
    campaign: properties.campaign_id ?? null,
    status: properties.status ?? null,
    properties: JSON.stringify(properties),
  };
}

const [port, kind, file] = process.argv.slice(2);
const store = kind === 'sqlite' ? openSqlite(file) : await openPostgres();
const app = Fastify({ logger: false, ajv: { customOptions: { removeAdditional: false } } });

app.get('/readyz', () => ({ success: true }));

app.post('/track/v2/projects/:token/customers/events', { schema: { body: schema } }, async (request) => {
  await store([read(request.body)]);
  return { success: true, errors: [] };
});

app.post('/track/v2/projects/:token/batch', { schema: { body: batchSchema } }, async (request) => {
  const { commands } = request.body;
  await store(commands.map((each) => read(each.data)));
  return { success: true, results: commands.map((each) => ({ success: true, command_id: each.command_id })) };
});

process.on('SIGTERM', () => process.exit(0));
await app.listen({ port: Number(port), host: '127.0.0.1' });
