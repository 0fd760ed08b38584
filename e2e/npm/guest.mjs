// What the guests of the matrix do, whatever SDK they are made of: guest_test.go
// does the same with the go-sdk. Standard input has {revision, visits: [{url, side,
// id, features}]}, standard output gets what was seen, [{feature: words}].
//
// connect(visit, hear) of guest1.mjs or guest2.mjs gives {info, instructions,
// tools(), call(params, options), resources(), templates(), read(uri), prompts(),
// prompt(params), complete(params), level(l), listen(), subscribe(uri), ping(),
// close(), task(tool) where the SDK knows tasks}; hear is {log, changed, updated}.
export const roots = { roots: [{ uri: 'file:///e2e', name: 'e2e' }] };
export const sampled = { role: 'assistant', model: 'e2e', content: { type: 'text', text: 'sampled' } };
export async function elicited(params) {
  if (params.mode === 'url') {
    await pay(params.url);
    return { action: 'accept' };
  }
  return { action: 'accept', content: params.requestedSchema.properties.color ? { color: 'blue' } : { name: 'Ann' } };
}

// pay is what the user does who is shown an address: open it, if it is a kitchen's.
const pay = (url) => (url.startsWith('http://127.0.0.1:') ? fetch(url) : null);

export async function visitAll(connect) {
  const chunks = [];
  for await (const chunk of process.stdin) chunks.push(chunk);
  const { revision, visits } = JSON.parse(Buffer.concat(chunks));
  const seen = await Promise.all(visits.map((v) => visit(connect, revision, v)));
  process.stdout.write(JSON.stringify(seen), () => process.exit(0));
}

async function visit(connect, revision, v) {
  const heard = { logs: [], changed: events(), updated: events() };
  let client;
  try {
    client = await connect(v, revision, {
      log: (p) => heard.logs.push(`${p.level}: ${p.data}`),
      changed: () => heard.changed.happen(),
      updated: (p) => heard.updated.happen(p.uri),
    });
  } catch (err) {
    return { connect: failed(err) };
  }
  const seen = {};
  for (const feature of v.features) {
    try {
      const step = steps[feature];
      const again = () => connect(v, revision, { log() {}, changed() {}, updated() {} });
      seen[feature] = step ? await within(30_000, step({ ...v, revision, client, heard, again })) : 'this guest does not know how';
    } catch (err) {
      seen[feature] = failed(err);
    }
  }
  await client.close().catch(() => {});
  return seen;
}

// failed is an error as all guests word it.
function failed(err) {
  return typeof err.code === 'number' && err.code !== 0 ? `error ${err.code}: ${err.message}` : `failed: ${err.message}`;
}

const wait = (ms) => new Promise((done) => { setTimeout(done, ms); });
const within = (ms, promise) => Promise.race([promise, wait(ms).then(() => { throw new Error(`nothing after ${ms} ms`); })]);

// events are things that happen; next waits for one.
function events() {
  const past = [];
  let wake = () => {};
  return {
    happen(what = true) {
      past.push(what);
      wake();
    },
    next: (ms) => Promise.race([past.length ? null : new Promise((done) => { wake = done; }), wait(ms)]).then(() => past.shift()),
  };
}

async function until(ok) {
  for (let i = 0; i < 500; i++) {
    if (await ok()) return true;
    await wait(10);
  }
  return false;
}

const side = async (g, what, query) => (await fetch(`${g.side}${what}?${new URLSearchParams(query)}`)).text();

const decode = (data) => Buffer.from(data, 'base64').toString();
const part = {
  text: (c) => c.text,
  image: (c) => `image ${decode(c.data)}`,
  audio: (c) => `audio ${decode(c.data)}`,
  resource_link: (c) => `link ${c.uri}`,
  resource: (c) => `resource ${c.resource.text}`,
};

async function call(g, name, options, more) {
  const r = await g.client.call({ name, arguments: { text: 'grüße', id: g.id, region: 'eu' }, ...more }, options);
  const parts = r.content.map((c) => part[c.type](c));
  if (r.structuredContent !== undefined && g.revision >= '2025-06-18') parts.unshift(`structured ${JSON.stringify(r.structuredContent)}`);
  return (r.isError ? 'tool error: ' : '') + parts.join(' + ');
}

const calls = (tool) => (g) => call(g, tool);

const steps = {
  who: (g) => `${g.client.info()?.name}: ${g.client.instructions() ?? ''}`,
  async tools(g) {
    const listed = (await g.client.tools()).includes('echo');
    return `listed ${listed}, ${await call(g, 'echo')}`;
  },
  content: calls('content'), audio: calls('sound'), link: calls('link'), structured: calls('sum'), array: calls('numbers'),
  form: calls('ask_form'), rounds: calls('ask_twice'), url: calls('ask_url'), sampling: calls('ask_model'), roots: calls('ask_roots'),
  header: calls('headed'),
  async task(g) {
    return g.client.task ? `as a task: ${await g.client.task('report')}` : call(g, 'report');
  },
  async errors(g) {
    let said = await call(g, 'fail');
    await call(g, 'refuse').catch((err) => { said += `; ${err.code} ${err.message} ${err.data ? JSON.stringify(err.data) : ''}`; });
    await call(g, 'nothing').catch((err) => { said += `; unknown tool ${err.code}`; });
    return said;
  },
  async resources(g) {
    const listed = [...await g.client.resources(), ...await g.client.templates()];
    const said = [`listed ${['kitchen://static', 'kitchen://binary', 'kitchen://item/{id}'].every((uri) => listed.includes(uri))}`];
    for (const uri of ['kitchen://static', 'kitchen://binary', 'kitchen://item/7']) {
      const [content] = (await g.client.read(uri)).contents;
      said.push(content.text ?? `${Buffer.from(content.blob, 'base64').length} bytes`);
    }
    return said.join(', ');
  },
  async missing(g) {
    await g.client.read('kitchen://nothing');
    return 'found';
  },
  async prompts(g) {
    const listed = (await g.client.prompts()).includes('greet');
    const r = await g.client.prompt({ name: 'greet', arguments: { name: 'Ann' } });
    return `listed ${listed}, ${r.messages[0].content.text}`;
  },
  async completion(g) {
    const prompt = await g.client.complete({ ref: { type: 'ref/prompt', name: 'greet' }, argument: { name: 'name', value: 'An' } });
    const item = await g.client.complete({ ref: { type: 'ref/resource', uri: 'kitchen://item/{id}' }, argument: { name: 'id', value: '7' } });
    return [...prompt.completion.values, ...item.completion.values].join(',');
  },
  async progress(g) {
    const told = [];
    const said = await call(g, 'steps', {
      onprogress(p) {
        told.push(`${p.progress}/${p.total}`);
        side(g, 'step', { id: g.id });
      },
    });
    return `${said} after ${told.join(' ')}`;
  },
  async log(g) {
    await g.client.level('info');
    await call(g, 'speak', {}, g.revision === '2026-07-28' ? { _meta: { 'io.modelcontextprotocol/logLevel': 'info' } } : {});
    await until(() => g.heard.logs.length > 0);
    return g.heard.logs.join(' ');
  },
  async cancel(g) {
    const giveUp = new AbortController();
    const ended = call(g, 'hang', { signal: giveUp.signal }).catch(() => {});
    const arrived = await side(g, 'arrived', { id: g.id });
    if (arrived !== 'arrived') return arrived;
    giveUp.abort();
    await ended;
    return side(g, 'cancelled', { id: g.id });
  },
  async late(g) {
    await call(g, 'remember');
    return side(g, 'late', { id: g.id });
  },
  async first(g) {
    try {
      return await call(g, 'pay_first');
    } catch (err) {
      if (err.code !== -32042) throw err;
      for (const e of err.data.elicitations) await pay(e.url);
      return call(g, 'pay_first');
    }
  },
  async murmur(g) {
    await call(g, 'remember');
    await side(g, 'murmur', { id: g.id });
    const heard = () => g.heard.logs.includes('warning: murmured');
    if (g.revision === '2026-07-28') await call(g, 'echo'); // what was to come has come
    else await until(heard);
    return `heard ${heard()}`;
  },
  async state(g) {
    const left = await call(g, 'count');
    const second = await g.again();
    const found = await call({ ...g, client: second }, 'count');
    await second.close();
    return `${left === '1' && found === '1' ? 'each has' : 'no connection has'} a count of its own`;
  },
  // Two requests in one message.
  async batch(g) {
    const [tools, said] = await g.client.together(() => [g.client.tools(), call(g, 'echo')]);
    return `listed ${tools.includes('echo')}, ${said}`;
  },
  // A stream that the client opens by itself may not stand yet: more tools are added until it hears.
  async changes(g) {
    await g.client.listen();
    for (let i = 0; i < 20; i++) {
      const tool = `new_${g.id}_${i}`;
      await side(g, 'add', { tool });
      if (!await g.heard.changed.next(500)) continue;
      return `heard, listed ${await until(async () => (await g.client.tools()).includes(tool))}`;
    }
    return 'heard nothing';
  },
  async updates(g) {
    const uri = 'kitchen://static';
    const end = await g.client.subscribe(uri);
    for (let i = 0; i < 20; i++) {
      await side(g, 'touch', { uri });
      const heard = await g.heard.updated.next(500);
      if (!heard) continue;
      await end();
      return `heard of ${heard}`;
    }
    return 'heard nothing';
  },
  async ping(g) {
    await g.client.ping();
    return 'pong';
  },
};
