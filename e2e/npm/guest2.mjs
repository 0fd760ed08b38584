// A guest made of the TypeScript client 2.x, in 2026-07-28 alone.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { elicited, roots, sampled, visitAll } from './guest.mjs';

await visitAll(async (visit, revision, hear) => {
  const client = new Client({ name: 'guest-ts', version: '2.0.0' }, {
    capabilities: { sampling: {}, roots: { listChanged: true }, elicitation: { form: {}, url: {} } },
    versionNegotiation: { mode: { pin: revision } },
  });
  client.setRequestHandler('elicitation/create', (r) => elicited(r.params));
  client.setRequestHandler('sampling/createMessage', () => sampled);
  client.setRequestHandler('roots/list', () => roots);
  client.setNotificationHandler('notifications/message', (n) => hear.log(n.params));
  client.setNotificationHandler('notifications/tools/list_changed', () => hear.changed());
  client.setNotificationHandler('notifications/resources/updated', (n) => hear.updated(n.params));
  await client.connect(new StreamableHTTPClientTransport(new URL(visit.url)));
  if (client.getNegotiatedProtocolVersion() !== revision) throw new Error(`agreed on ${client.getNegotiatedProtocolVersion()}, want ${revision}`);
  return {
    info: () => client.getServerVersion(),
    instructions: () => client.getInstructions(),
    // A list is asked for anew each time, not taken from the client's own cache.
    tools: async () => (await client.listTools({}, { cacheMode: 'refresh' })).tools.map((t) => t.name),
    call: (params, options) => client.callTool(params, options),
    resources: async () => (await client.listResources()).resources.map((r) => r.uri),
    templates: async () => (await client.listResourceTemplates()).resourceTemplates.map((r) => r.uriTemplate),
    read: (uri) => client.readResource({ uri }),
    prompts: async () => (await client.listPrompts()).prompts.map((p) => p.name),
    prompt: (params) => client.getPrompt(params),
    complete: (params) => client.complete(params),
    level: async () => {}, // with each request
    listen: () => client.listen({ toolsListChanged: true }),
    async subscribe(uri) {
      const subscription = await client.listen({ resourceSubscriptions: [uri] });
      return () => subscription.close();
    },
    ping: () => client.ping(),
    close: () => client.close(),
  };
});
