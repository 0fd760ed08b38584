// A guest made of the TypeScript SDK 1.x whose newest revision is the one asked for.
import { elicited, roots, sampled, visitAll } from './guest.mjs';

await visitAll(async (visit, revision, hear) => {
  const load = (part) => import(`${revision === '2025-11-25' ? '@modelcontextprotocol/sdk' : `sdk-${revision}`}/${part}.js`);
  const { Client } = await load('client/index');
  const types = await load('types');
  const capabilities = { sampling: {}, roots: { listChanged: true } };
  if (revision >= '2025-06-18') capabilities.elicitation = {};
  if (revision >= '2025-11-25') capabilities.elicitation = { form: {}, url: {} };
  const client = new Client({ name: 'guest-ts', version: '1.0.0' }, { capabilities });
  client.setRequestHandler(types.CreateMessageRequestSchema, () => sampled);
  client.setRequestHandler(types.ListRootsRequestSchema, () => roots);
  if (types.ElicitRequestSchema) client.setRequestHandler(types.ElicitRequestSchema, (r) => elicited(r.params));
  client.setNotificationHandler(types.LoggingMessageNotificationSchema, (n) => hear.log(n.params));
  client.setNotificationHandler(types.ToolListChangedNotificationSchema, () => hear.changed());
  client.setNotificationHandler(types.ResourceUpdatedNotificationSchema, (n) => hear.updated(n.params));

  const url = new URL(visit.url);
  let transport;
  if (revision === '2024-11-05') {
    const { SSEClientTransport } = await load('client/sse');
    transport = new SSEClientTransport(url);
  } else {
    const { StreamableHTTPClientTransport } = await load('client/streamableHttp');
    transport = new StreamableHTTPClientTransport(url);
  }
  let agreed;
  const request = client.request.bind(client);
  client.request = async (r, ...rest) => {
    const result = await request(r, ...rest);
    if (r.method === 'initialize') agreed = result.protocolVersion;
    return result;
  };
  await client.connect(transport);
  if (agreed !== revision) throw new Error(`agreed on ${agreed}, want ${revision}`);
  return {
    info: () => client.getServerVersion(),
    instructions: () => client.getInstructions(),
    tools: async () => (await client.listTools()).tools.map((t) => t.name),
    call: (params, options) => client.callTool(params, undefined, options),
    resources: async () => (await client.listResources()).resources.map((r) => r.uri),
    templates: async () => (await client.listResourceTemplates()).resourceTemplates.map((r) => r.uriTemplate),
    read: (uri) => client.readResource({ uri }),
    prompts: async () => (await client.listPrompts()).prompts.map((p) => p.name),
    prompt: (params) => client.getPrompt(params),
    complete: (params) => client.complete(params),
    level: (level) => client.setLoggingLevel(level),
    listen: async () => {}, // the transport did
    async subscribe(uri) {
      await client.subscribeResource({ uri });
      return () => client.unsubscribeResource({ uri });
    },
    ping: () => client.ping(),
    // What start() sends goes out in one message, which the SDK of 2025-03-26 can do.
    async together(start) {
      const send = transport.send;
      const held = [];
      transport.send = async (message) => { held.push(message); };
      const results = start();
      transport.send = send;
      await transport.send(held);
      return Promise.all(results);
    },
    task: revision < '2025-11-25' || !client.getServerCapabilities().tasks ? undefined : async (name) => {
      for await (const message of client.experimental.tasks.callToolStream({ name, arguments: {} }, types.CallToolResultSchema, { task: { ttl: 60_000 } })) {
        if (message.type === 'result') return message.result.content[0].text;
        if (message.type === 'error') throw message.error;
      }
      return 'nothing';
    },
    async close() {
      await transport.terminateSession?.();
      await client.close();
    },
  };
});
