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
  return {
    handle: (req, res) => node(req, res),
    late: () => Promise.reject(new Error('a modern server asks nothing outside a call')),
    changed: async () => handler.notify.toolsChanged(),
    touched: async (uri) => handler.notify.resourceUpdated(uri),
  };
}
