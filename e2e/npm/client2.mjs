// The official TypeScript client, 2.x: legacy, auto or modern.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { answers, capabilities, drive } from './drive.mjs';

const modes = { legacy: 'legacy', auto: 'auto', modern: { pin: '2026-07-28' } };

await drive((plan, report) => {
  const client = new Client(
    { name: 'e2e-client-2', version: '1.0.0' },
    { capabilities: plan.full ? capabilities : {}, versionNegotiation: { mode: modes[plan.era] } },
  );
  client.onerror = (err) => { (report.warnings ??= []).push(String(err?.message ?? err)); };
  if (plan.full) {
    const answer = answers(report.asked);
    client.setRequestHandler('elicitation/create', (request) => answer.elicit(request.params));
    client.setRequestHandler('sampling/createMessage', (request) => answer.sample(request.params));
    client.setRequestHandler('roots/list', () => answer.roots());
  }
  client.setNotificationHandler('notifications/message', () => { report.logs++; });
  const transport = new StreamableHTTPClientTransport(new URL(plan.url));
  const all = {
    tools: async () => (await client.listTools()).tools,
    prompts: async () => (await client.listPrompts()).prompts,
    resources: async () => (await client.listResources()).resources,
    templates: async () => (await client.listResourceTemplates()).resourceTemplates,
  };
  return {
    connect: () => client.connect(transport),
    version: () => client.getNegotiatedProtocolVersion(),
    server: () => client.getServerVersion()?.name,
    capabilities: () => client.getServerCapabilities(),
    list: (kind) => all[kind](),
    call: (name, args, onprogress) => client.callTool({ name, arguments: args }, { onprogress }),
    prompt: (name, args) => client.getPrompt({ name, arguments: args }),
    read: (uri) => client.readResource({ uri }),
    complete: (params) => client.complete(params),
    async close() {
      if (client.getProtocolEra?.() !== 'modern') await transport.terminateSession?.();
      await client.close();
    },
  };
});
