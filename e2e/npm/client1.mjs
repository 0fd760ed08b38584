// The official TypeScript SDK, 1.x: always legacy. The only one of the two that
// speaks the tasks of 2025-11-25, in both directions.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { InMemoryTaskMessageQueue, InMemoryTaskStore } from '@modelcontextprotocol/sdk/experimental/tasks';
import {
  CallToolResultSchema, CreateMessageRequestSchema, ElicitRequestSchema, ListRootsRequestSchema, LoggingMessageNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { answers, capabilities, drive } from './drive.mjs';

const tasks = { list: {}, cancel: {}, requests: { sampling: { createMessage: {} }, elicitation: { create: {} } } };

await drive((plan, report) => {
  const taskStore = new InMemoryTaskStore();
  const client = new Client(
    { name: 'e2e-client-1', version: '1.0.0' },
    plan.full
      ? { capabilities: { ...capabilities, tasks }, taskStore, taskMessageQueue: new InMemoryTaskMessageQueue() }
      : { capabilities: {} },
  );
  client.onerror = (err) => { (report.warnings ??= []).push(String(err?.message ?? err)); };
  if (plan.full) {
    const answer = answers(report.asked);
    // A request that carries a task is answered with one, and the task ends a little later.
    const handle = (schema, give) => client.setRequestHandler(schema, async (request, extra) => {
      const result = give(request.params);
      if (!request.params.task || !extra.taskStore) return result;
      const task = await extra.taskStore.createTask({ ttl: 60000, pollInterval: 200 });
      setTimeout(() => extra.taskStore.storeTaskResult(task.taskId, 'completed', result), 200);
      return { task };
    });
    handle(ElicitRequestSchema, answer.elicit);
    handle(CreateMessageRequestSchema, answer.sample);
    client.setRequestHandler(ListRootsRequestSchema, () => answer.roots());
  }
  client.setNotificationHandler(LoggingMessageNotificationSchema, () => { report.logs++; });
  const transport = new StreamableHTTPClientTransport(new URL(plan.url));
  const page = {
    tools: (cursor) => client.listTools({ cursor }),
    prompts: (cursor) => client.listPrompts({ cursor }),
    resources: (cursor) => client.listResources({ cursor }),
    templates: (cursor) => client.listResourceTemplates({ cursor }),
  };
  return {
    connect: () => client.connect(transport),
    version: () => transport.protocolVersion,
    server: () => client.getServerVersion()?.name,
    capabilities: () => client.getServerCapabilities(),
    async list(kind) {
      const items = [];
      let cursor;
      do {
        const result = await page[kind](cursor);
        items.push(...(result[kind === 'templates' ? 'resourceTemplates' : kind]));
        cursor = result.nextCursor;
      } while (cursor);
      return items;
    },
    async call(name, args, onprogress, task) {
      if (!task) return client.callTool({ name, arguments: args }, undefined, { onprogress });
      const stream = client.experimental.tasks.callToolStream({ name, arguments: args }, CallToolResultSchema, { onprogress, task: { ttl: 60000 } });
      for await (const message of stream) {
        if (message.type === 'result') return message.result;
        if (message.type === 'error') throw message.error;
        if (message.type === 'taskStatus') onprogress();
      }
      throw new Error('the task ended without a result');
    },
    prompt: (name, args) => client.getPrompt({ name, arguments: args }),
    read: (uri) => client.readResource({ uri }),
    complete: (params) => client.complete(params),
    async close() {
      await transport.terminateSession();
      await client.close();
      taskStore.cleanup();
    },
  };
});
