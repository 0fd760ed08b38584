// A guest made of the TypeScript client 2.x, in 2026-07-28 alone.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { createTaskSessionFromClient, resultFromTaskOutcome } from '@modelcontextprotocol/ext-tasks/client';
import { elicited, roots, sampled, visitAll } from './guest.mjs';

const extension = 'io.modelcontextprotocol/tasks';
const clientInfo = { name: 'guest-ts', version: '2.0.0' };

// follow calls a tool with the official extension for tasks. It leaves the sending
// of its requests to its host.
async function follow(client, url, name) {
  const session = createTaskSessionFromClient(client, {
    endpointId: url,
    v2RequestFraming: { protocolVersion: '2026-07-28', clientInfo, clientCapabilities: { extensions: { [extension]: {} } } },
    async rawDispatch(request, options) {
      const { method, params } = request;
      const response = await fetch(url, {
        method: 'POST',
        headers: {
          'Content-Type': 'application/json', Accept: 'application/json, text/event-stream',
          'MCP-Protocol-Version': '2026-07-28', 'Mcp-Method': method, 'Mcp-Name': params.taskId ?? params.name, ...options?.context?.headers,
        },
        body: JSON.stringify({ jsonrpc: '2.0', id: `task-${++sent}`, ...request }),
      });
      const body = await response.text();
      const events = body.match(/^data: ?(.+)$/gm);
      const { result, error } = JSON.parse(events ? events.at(-1).replace(/^data: ?/, '') : body);
      return error ? { kind: 'error', error } : { kind: 'result', result };
    },
  });
  try {
    const execution = await session.callTool(name, {});
    if (execution.kind !== 'task') throw new Error(`it was called as ${execution.kind}`);
    const { outcome } = await execution.settle();
    return resultFromTaskOutcome(outcome).content[0].text;
  } finally {
    await session.close();
  }
}
let sent = 0;

await visitAll(async (visit, revision, hear) => {
  const client = new Client(clientInfo, {
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
    task: client.getServerCapabilities().extensions?.[extension] && ((name) => follow(client, visit.url, name)),
    close: () => client.close(),
  };
});
