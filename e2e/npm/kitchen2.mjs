// Serves the menu with the TypeScript server 2.x, in 2026-07-28 alone.
import { createMcpHandler, inputRequired, ProtocolError, Server } from '@modelcontextprotocol/server';
import { toNodeHandler } from '@modelcontextprotocol/node';

const levels = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'];

export async function open(_, { capabilities, info, instructions, menu, Question }) {
  const handler = createMcpHandler(() => {
    const server = new Server(info, { capabilities, instructions });
    for (const [method, answer] of Object.entries(menu)) {
      server.setRequestHandler(method, async (request, ctx) => {
        const level = ctx.mcpReq.envelope?.['io.modelcontextprotocol/logLevel'];
        const context = {
          state: ctx.mcpReq.requestState(),
          signal: ctx.mcpReq.signal,
          header: (name) => ctx.http?.req?.headers.get(name),
          remember: () => {},
          count: () => 0,
          ask(key, question, state) {
            const answer = ctx.mcpReq.inputResponses?.[key];
            if (!answer) throw new Question(key, question, state);
            return answer;
          },
          progress: (progress, total) => ctx.mcpReq.notify({
            method: 'notifications/progress', params: { progressToken: ctx.mcpReq._meta?.progressToken, progress, total },
          }),
          log: async (at, data) => {
            if (level && levels.indexOf(at) >= levels.indexOf(level)) await ctx.mcpReq.notify({ method: 'notifications/message', params: { level: at, data } });
          },
        };
        try {
          return await answer(request.params, context);
        } catch (err) {
          if (err instanceof Question) return inputRequired({ inputRequests: { [err.key]: err.request }, ...(err.state ? { requestState: err.state } : {}) });
          if (err.code !== undefined) throw new ProtocolError(err.code, err.message, err.data);
          throw err;
        }
      });
    }
    return server;
  }, { legacy: 'reject', onerror: (err) => console.error(err.message) });
  const node = toNodeHandler(handler);
  const tasks = new Map();
  return {
    async handle(req, res) {
      const chunks = [];
      for await (const chunk of req) chunks.push(chunk);
      const message = JSON.parse(Buffer.concat(chunks).toString() || '{}');
      const result = taskResult(message, tasks);
      if (!result) return node(req, res, message);
      res.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify({ jsonrpc: '2.0', id: message.id, ...result }));
    },
    late: () => Promise.reject(new Error('a modern server asks nothing outside a call')),
    notify: async () => {},
    changed: async () => handler.notify.toolsChanged(),
    touched: async (uri) => handler.notify.resourceUpdated(uri),
  };
}

// taskResult is what belongs to the extension for tasks, which the SDK does not
// offer to servers; undefined for all else. A task is done when it is looked at for
// the second time.
function taskResult({ method, params }, tasks) {
  const when = new Date().toISOString();
  const about = (taskId, status) => ({ taskId, status, createdAt: when, lastUpdatedAt: when, ttlMs: 60_000, pollIntervalMs: 50 });
  if (method === 'tools/call' && params.name === 'report') {
    const extensions = params._meta['io.modelcontextprotocol/clientCapabilities'].extensions ?? {};
    if (!extensions['io.modelcontextprotocol/tasks']) {
      return { error: { code: -32021, message: 'report is a task', data: { requiredCapabilities: { extensions: { 'io.modelcontextprotocol/tasks': {} } } } } };
    }
    const taskId = `task-${tasks.size + 1}`;
    tasks.set(taskId, 0);
    return { result: { resultType: 'task', ...about(taskId, 'working') } };
  }
  if (method !== 'tasks/get') return undefined;
  const looks = tasks.get(params.taskId);
  if (looks === undefined) return { error: { code: -32602, message: 'Task not found' } };
  tasks.set(params.taskId, looks + 1);
  if (looks === 0) return { result: { resultType: 'complete', ...about(params.taskId, 'working') } };
  return { result: { resultType: 'complete', ...about(params.taskId, 'completed'), result: { resultType: 'complete', content: [{ type: 'text', text: 'report ready' }] } } };
}
