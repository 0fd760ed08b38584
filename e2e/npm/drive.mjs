// What both drivers share: read a plan, carry it out with a client of the
// official SDK, print one JSON report. The SDKs differ in how handlers are set and
// results are typed; the drivers hide that behind a small adapter.
//
// plan:   {url, era, full, steps: [{tool, args, task} | {prompt, args} | {resource} | {complete}]}
// report: {version, server, tools, prompts, resources, templates, asked, logs, steps: [...]}

// capabilities is everything a client can offer.
export const capabilities = {
  elicitation: { form: {}, url: {} },
  sampling: {},
  roots: { listChanged: true },
};

// answers are the handlers behind those capabilities; asked counts the questions.
export function answers(asked) {
  const count = (what) => { asked[what] = (asked[what] ?? 0) + 1; };
  return {
    elicit(params) {
      if (params.mode === 'url') {
        count('url');
        return { action: 'accept' };
      }
      count('form');
      const content = {};
      for (const [name, schema] of Object.entries(params.requestedSchema?.properties ?? {})) {
        content[name] = plausible(schema);
      }
      return { action: 'accept', content };
    },
    sample() {
      count('sampling');
      return { role: 'assistant', model: 'e2e', stopReason: 'endTurn', content: { type: 'text', text: 'sampled' } };
    },
    roots() {
      count('roots');
      return { roots: [{ uri: 'file:///e2e', name: 'e2e' }] };
    },
  };
}

// plausible is a value that the schema of a form's field accepts.
function plausible(schema) {
  if (schema.default !== undefined) return schema.default;
  const choice = schema.enum?.[0] ?? schema.oneOf?.[0]?.const ?? schema.anyOf?.[0]?.const;
  if (choice !== undefined) return choice;
  switch (schema.type) {
    case 'boolean': return true;
    case 'integer':
    case 'number': return schema.minimum ?? 1;
    case 'array': return [schema.items?.enum?.[0] ?? schema.items?.anyOf?.[0]?.const ?? schema.items?.oneOf?.[0]?.const ?? 'one'];
  }
  switch (schema.format) {
    case 'email': return 'ann@example.com';
    case 'uri': return 'https://example.com/';
    case 'date': return '2026-11-22';
    case 'date-time': return '2026-11-22T12:00:00Z';
  }
  return 'Ann';
}

// drive carries the plan out. adapter: {connect, version, server, capabilities,
// list(kind), call(name, args, onprogress, task), prompt, read, complete, close}.
export async function drive(make) {
  const plan = JSON.parse(process.argv[2]);
  const report = { asked: {}, logs: 0, steps: [] };
  const adapter = make(plan, report);
  try {
    await adapter.connect();
    report.version = adapter.version();
    report.server = adapter.server();
    const has = adapter.capabilities() ?? {};
    report.capabilities = has;
    report.tools = has.tools ? (await adapter.list('tools')).map((t) => t.name) : [];
    report.prompts = has.prompts ? (await adapter.list('prompts')).map((p) => p.name) : [];
    report.resources = has.resources ? (await adapter.list('resources')).map((r) => r.uri) : [];
    report.templates = has.resources ? (await adapter.list('templates')).map((t) => t.uriTemplate) : [];
    for (const step of plan.steps ?? []) report.steps.push(await take(adapter, step));
  } catch (err) {
    report.error = describe(err);
  }
  try {
    await adapter.close();
  } catch (err) {
    report.closeError = describe(err);
  }
  process.stdout.write(JSON.stringify(report) + '\n', () => process.exit(report.error ? 1 : 0));
}

async function take(adapter, step) {
  const done = { name: step.tool ?? step.prompt ?? step.resource ?? 'complete', progress: 0 };
  const started = Date.now();
  try {
    if (step.tool) {
      const result = await adapter.call(step.tool, step.args ?? {}, () => { done.progress++; }, step.task);
      done.isError = result.isError === true;
      done.types = (result.content ?? []).map((c) => c.type);
      done.text = (result.content ?? []).map((c) => c.text ?? c.uri ?? c.resource?.uri ?? '').join('\n').slice(0, 4000);
      done.structured = result.structuredContent;
    } else if (step.prompt) {
      const result = await adapter.prompt(step.prompt, step.args ?? {});
      done.text = result.messages.map((m) => m.content.text ?? m.content.resource?.uri ?? '').join('\n');
    } else if (step.resource) {
      const result = await adapter.read(step.resource);
      done.text = result.contents.map((c) => c.text ?? c.blob ?? '').join('\n').slice(0, 4000);
    } else {
      const result = await adapter.complete(step.complete);
      done.text = result.completion.values.join(',');
    }
  } catch (err) {
    done.error = describe(err);
  }
  done.ms = Date.now() - started;
  return done;
}

function describe(err) {
  const cause = err?.cause ? `: ${err.cause.message ?? err.cause}` : '';
  return `${err?.code !== undefined ? `[${err.code}] ` : ''}${err?.message ?? err}${cause}`;
}
