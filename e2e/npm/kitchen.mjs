// A server of the TypeScript SDK that speaks one revision of the protocol and
// offers what the matrix looks at; kitchen_test.go offers the same with the go-sdk
// and says what the side door is for. Usage: node kitchen.mjs REVISION PORT
//
// What is on the menu stands here. kitchen1.mjs serves it with the SDK 1.x of a
// legacy revision, kitchen2.mjs with the server 2.x. A context that they give to
// a call: {ask(key, question, state), back, progress(n, total), log(level, data),
// header(name), signal, remember(id)}.
import { createServer } from 'node:http';

const [revision, port] = process.argv.slice(2);
const modern = '2026-07-28';
const patience = 20_000;

const text = (s) => ({ content: [{ type: 'text', text: s }] });
const base64 = (s) => Buffer.from(s).toString('base64');

// Refusal is an error of the protocol.
class Refusal extends Error {
  constructor(code, message, data) {
    super(message);
    Object.assign(this, { code, data });
  }
}

// Question ends a call of a modern server: what is inside is its result.
class Question extends Error {
  constructor(key, request, state) {
    super('a question');
    Object.assign(this, { key, request, state });
  }
}

const form = (field) => ({
  method: 'elicitation/create',
  params: {
    ...(revision >= '2025-11-25' ? { mode: 'form' } : {}),
    message: `Please tell your ${field}.`,
    requestedSchema: { type: 'object', properties: { [field]: { type: 'string' } }, required: [field] },
  },
});
const told = (answer, field) => (answer.action === 'accept' ? String(answer.content[field]) : 'nothing');

// tool: [name, since, do(args, context), the rest of its definition]
const tools = [
  ['echo', '', (a) => text(`echo: ${a.text}`), { description: 'Says it again.' }],
  ['content', '', () => ({
    content: [
      { type: 'image', data: base64('image'), mimeType: 'image/png' },
      { type: 'resource', resource: { uri: 'kitchen://static', mimeType: 'text/plain', text: 'static text' } },
    ],
  })],
  ['sound', '2025-03-26', () => ({ content: [{ type: 'audio', data: base64('audio'), mimeType: 'audio/wav' }] })],
  ['link', '2025-06-18', () => ({ content: [{ type: 'resource_link', uri: 'kitchen://static', name: 'static' }] })],
  ['sum', '2025-06-18', () => ({ ...text('{"sum":5}'), structuredContent: { sum: 5 } }),
    { outputSchema: { type: 'object', properties: { sum: { type: 'integer' } }, required: ['sum'] } }],
  ['numbers', modern, () => ({ ...text('[1,2,3]'), structuredContent: [1, 2, 3] }),
    { outputSchema: { type: 'array', items: { type: 'integer' } } }],
  ['fail', '', () => ({ ...text('it broke'), isError: true })],
  ['refuse', '', () => { throw new Refusal(4711, 'refused', { why: 'closed' }); }],
  ['steps', '', async (a, c) => {
    for (let i = 1; i <= 3; i++) {
      await c.progress(i, 3);
      if (!await Promise.race([step(a.id).heard, wait(patience)])) throw new Error(`nobody heard of step ${i}`);
      steps.delete(a.id);
    }
    return text('done');
  }],
  ['speak', '', async (_, c) => {
    await c.log('debug', 'said aloud');
    await c.log('warning', 'said aloud');
    return text('spoken');
  }],
  ['hang', '', async (a, c) => {
    hang(a.id).arrived.happen();
    if (!c.signal.aborted) await Promise.race([new Promise((done) => { c.signal.addEventListener('abort', done); }), wait(patience)]);
    if (c.signal.aborted) hang(a.id).cancelled.happen();
    return text('hung');
  }],
  ['remember', '', (a, c) => {
    c.remember(a.id);
    return text('remembered');
  }],
  ['count', '', (_, c) => text(String(c.count()))],
  ['pay_first', '2025-11-25', (a, c) => {
    if (paid.has(a.id)) return text('paid');
    c.remember(a.id);
    throw new Refusal(-32042, 'pay first', {
      elicitations: [{ mode: 'url', message: 'Please pay.', url: `http://127.0.0.1:${port}/side/pay?id=${a.id}`, elicitationId: a.id }],
    });
  }],
  ['headed', '', (a, c) => text(`argument ${a.region}, header ${c.header('mcp-param-region') ?? ''}`),
    { inputSchema: { type: 'object', properties: { region: { type: 'string', 'x-mcp-header': 'Region' } } } }],
  ['ask_form', '2025-06-18', async (_, c) => text(`name ${told(await c.ask('name', form('name'), ''), 'name')}`)],
  ['ask_twice', '2025-06-18', async (_, c) => {
    const name = c.state?.startsWith('name=') ? c.state.slice(5) : told(await c.ask('name', form('name'), 'round=1'), 'name');
    return text(`${name} likes ${told(await c.ask('color', form('color'), `name=${name}`), 'color')}`);
  }],
  ['ask_url', '2025-11-25', async (_, c) => {
    const answer = await c.ask('pay', {
      method: 'elicitation/create',
      params: { mode: 'url', message: 'Please pay.', url: 'https://pay.example/7', ...(revision < modern ? { elicitationId: '7' } : {}) },
    }, '');
    return text(`paid: ${answer.action}`);
  }],
  ['ask_model', '', async (_, c) => {
    const said = (await c.ask('model', {
      method: 'sampling/createMessage',
      params: { maxTokens: 10, messages: [{ role: 'user', content: { type: 'text', text: 'Say something.' } }] },
    }, '')).content;
    return text(`model said ${(Array.isArray(said) ? said[0] : said).text}`);
  }],
  ['ask_roots', '', async (_, c) => text(`roots ${uris(await c.ask('roots', { method: 'roots/list', ...(revision === modern ? { params: {} } : {}) }, ''))}`)],
  // The TypeScript SDK speaks the tasks of 2025-11-25; those of 2026-07-28 kitchen2 does itself.
  ['report', '2025-11-25', (_, c) => c.task(), { execution: { taskSupport: 'required' } }],
].filter(([, since]) => revision >= since);

const uris = (r) => r.roots.map((root) => root.uri).join(',');
const strings = { type: 'object', properties: { text: { type: 'string' }, id: { type: 'string' } } };

const capabilities = {
  tools: { listChanged: true }, prompts: {}, resources: { subscribe: true }, logging: {},
  ...(revision >= '2025-03-26' ? { completions: {} } : {}),
  ...(revision === '2025-11-25' ? { tasks: { list: {}, cancel: {}, requests: { tools: { call: {} } } } } : {}),
  ...(revision === modern ? { extensions: { 'io.modelcontextprotocol/tasks': {} } } : {}),
};

// menu answers requests, by method.
const menu = {
  'tools/list': () => ({ tools: tools.map(([name, , , more]) => ({ name, inputSchema: strings, ...more })) }),
  'tools/call': (p, c) => {
    const tool = tools.find(([name]) => name === p.name);
    if (!tool) throw new Refusal(-32602, `unknown tool ${p.name}`);
    return tool[2](p.arguments ?? {}, c);
  },
  'resources/list': () => ({
    resources: [
      { name: 'static', uri: 'kitchen://static', mimeType: 'text/plain' },
      { name: 'binary', uri: 'kitchen://binary', mimeType: 'application/octet-stream' },
    ],
  }),
  'resources/templates/list': () => ({ resourceTemplates: [{ name: 'item', uriTemplate: 'kitchen://item/{id}' }] }),
  'resources/read': ({ uri }) => {
    const item = uri.match(/^kitchen:\/\/item\/(.+)$/);
    if (uri === 'kitchen://binary') return { contents: [{ uri, mimeType: 'application/octet-stream', blob: 'AAEC' }] };
    if (uri !== 'kitchen://static' && !item) throw new Refusal(revision < modern ? -32002 : -32602, 'no such resource', { uri });
    return { contents: [{ uri, mimeType: 'text/plain', text: item ? `item ${item[1]}` : 'static text' }] };
  },
  'resources/subscribe': () => ({}),
  'resources/unsubscribe': () => ({}),
  'prompts/list': () => ({ prompts: [{ name: 'greet', description: 'Greets.', arguments: [{ name: 'name', required: true }] }] }),
  'prompts/get': (p) => ({ messages: [{ role: 'user', content: { type: 'text', text: `greet ${p.arguments.name}` } }] }),
  'completion/complete': ({ ref, argument }) => {
    const all = ref.type === 'ref/resource' ? ['7', '70', '8'] : ['Ann', 'Anton', 'Bob'];
    const values = all.filter((v) => v.startsWith(argument.value));
    return { completion: { values, total: values.length, hasMore: false } };
  },
};
if (revision === modern) {
  delete menu['resources/subscribe'];
  delete menu['resources/unsubscribe'];
}

const wait = (ms) => new Promise((done) => { setTimeout(done, ms).unref(); });

// event is something that happens once.
function event() {
  const e = {};
  e.heard = new Promise((done) => { e.happen = () => done(true); });
  return e;
}
const first = (map, make) => (id) => map.get(id) ?? map.set(id, make()).get(id);
const paid = new Set();
const steps = new Map();
const step = first(steps, event);
const hang = first(new Map(), () => ({ arrived: event(), cancelled: event() }));

// open is what kitchen1 and kitchen2 give: {handle(req, res, path), late(id),
// notify(id, notification), changed(), touched(uri)}.
const { open } = await import(revision === modern ? './kitchen2.mjs' : './kitchen1.mjs');
const kitchen = await open(revision, { info: { name: 'kitchen', version: '1.0.0' }, instructions: 'Order at the bar.', capabilities, menu, Question });

async function side(what, query) {
  const id = query.get('id');
  const happened = (e) => Promise.race([e.heard.then(() => what), wait(patience).then(() => `not ${what}`)]);
  switch (what) {
    case 'arrived': return happened(hang(id).arrived);
    case 'cancelled': return happened(hang(id).cancelled);
    case 'step':
      step(id).happen();
      return '';
    case 'late': return kitchen.late(id).then((r) => `roots ${uris(r)}`, (err) => `not answered: ${err.message}`);
    case 'murmur':
      await kitchen.notify(id, { method: 'notifications/message', params: { level: 'warning', data: 'murmured' } });
      return '';
    case 'pay':
      paid.add(id);
      await kitchen.notify(id, { method: 'notifications/elicitation/complete', params: { elicitationId: id } });
      return '';
    case 'add':
      tools.push([query.get('tool'), '', () => text('new')]);
      await kitchen.changed();
      return '';
    case 'touch':
      await kitchen.touched(query.get('uri'));
      return '';
  }
  return 'no such thing';
}

createServer(async (req, res) => {
  const url = new URL(req.url, 'http://localhost');
  try {
    if (url.pathname.startsWith('/side/')) res.end(await side(url.pathname.slice(6), url.searchParams));
    else await kitchen.handle(req, res, url.pathname);
  } catch (err) {
    console.error(err);
    if (!res.headersSent) res.writeHead(500);
    res.end();
  }
}).listen(Number(port), '127.0.0.1');
