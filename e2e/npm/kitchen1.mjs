// Serves the menu with the TypeScript SDK 1.x whose newest revision is the one
// asked for: over HTTP+SSE in 2024-11-05, else over Streamable HTTP with sessions.
import { randomUUID } from 'node:crypto';

const levels = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'];

export async function open(revision, { capabilities, info, instructions, menu }) {
  const sdk = revision === '2025-11-25' ? '@modelcontextprotocol/sdk' : `sdk-${revision}`;
  const load = (part) => import(`${sdk}/${part}.js`);
  const { Server } = await load('server/index');
  const types = await load('types');
  const schemas = {
    'tools/list': types.ListToolsRequestSchema, 'tools/call': types.CallToolRequestSchema,
    'resources/list': types.ListResourcesRequestSchema, 'resources/templates/list': types.ListResourceTemplatesRequestSchema,
    'resources/read': types.ReadResourceRequestSchema, 'resources/subscribe': types.SubscribeRequestSchema,
    'resources/unsubscribe': types.UnsubscribeRequestSchema, 'prompts/list': types.ListPromptsRequestSchema,
    'prompts/get': types.GetPromptRequestSchema, 'completion/complete': types.CompleteRequestSchema,
  };
  const answers = {
    'elicitation/create': types.ElicitResultSchema, 'sampling/createMessage': types.CreateMessageResultSchema,
    'roots/list': types.ListRootsResultSchema,
  };
  const taskStore = revision === '2025-11-25' ? new (await load('experimental/tasks/stores/in-memory')).InMemoryTaskStore() : undefined;
  const open = new Set();
  const remembered = new Map();

  function serve() {
    const server = new Server(info, { capabilities, instructions, taskStore });
    let level = 'emergency';
    let count = 0;
    server.setRequestHandler(types.SetLevelRequestSchema, (r) => {
      level = r.params.level;
      return {};
    });
    for (const [method, answer] of Object.entries(menu)) {
      server.setRequestHandler(schemas[method], async (request, extra) => {
        const notify = (n) => (extra.sendNotification ? extra.sendNotification(n) : server.notification(n));
        const context = {
          signal: extra.signal,
          header: (name) => extra.requestInfo?.headers?.[name],
          count: () => ++count,
          remember: (id) => remembered.set(id, server),
          ask: (key, question) => {
            if (question.method === 'elicitation/create') mayElicit(server.getClientCapabilities(), question.params.mode);
            return extra.sendRequest ? extra.sendRequest(question, answers[question.method]) : server.request(question, answers[question.method]);
          },
          async task() {
            if (!request.params.task) throw Object.assign(new Error('report has to be called as a task'), { code: -32601 });
            const task = await extra.taskStore.createTask({ ttl: 60_000, pollInterval: 50 });
            setTimeout(() => extra.taskStore.storeTaskResult(task.taskId, 'completed', { content: [{ type: 'text', text: 'report ready' }] }), 100);
            return { task };
          },
          progress: (progress, total) => notify({ method: 'notifications/progress', params: { progressToken: request.params._meta?.progressToken, progress, total } }),
          log: async (at, data) => {
            if (levels.indexOf(at) >= levels.indexOf(level)) await notify({ method: 'notifications/message', params: { level: at, data } });
          },
        };
        if (method !== 'tools/call') return answer(request.params, context);
        try {
          return await answer(request.params, context);
        } catch (err) {
          if (err.name === 'Error' && err.code !== undefined) throw err; // a refusal
          return { content: [{ type: 'text', text: err.message }], isError: true };
        }
      });
    }
    open.add(server);
    server.onclose = () => open.delete(server);
    return server;
  }

  return {
    handle: revision === '2024-11-05' ? await sse(load, serve) : await streamable(load, serve),
    late: (id) => remembered.get(id).request({ method: 'roots/list' }, types.ListRootsResultSchema, { timeout: 20_000 }),
    notify: (id, notification) => remembered.get(id).notification(notification),
    changed: () => Promise.all([...open].map((s) => s.sendToolListChanged())),
    touched: (uri) => Promise.all([...open].map((s) => s.sendResourceUpdated({ uri }))),
  };
}

// mayElicit: a server asks only what the client says that it can answer.
function mayElicit(capabilities, mode) {
  if (!capabilities?.elicitation) throw new Error('the client does not take elicitation');
  if (mode === 'url' && !capabilities.elicitation.url) throw new Error('the client does not take addresses to open');
}

async function sse(load, serve) {
  const { SSEServerTransport } = await load('server/sse');
  const sessions = new Map();
  return async (req, res, path) => {
    if (req.method === 'GET' && path === '/sse') {
      const transport = new SSEServerTransport('/messages', res);
      sessions.set(transport.sessionId, transport);
      res.on('close', () => sessions.delete(transport.sessionId));
      await serve().connect(transport);
      return;
    }
    const transport = sessions.get(new URL(req.url, 'http://localhost').searchParams.get('sessionId'));
    if (req.method === 'POST' && transport) await transport.handlePostMessage(req, res);
    else res.writeHead(req.method === 'POST' && path === '/messages' ? 404 : 405).end();
  };
}

async function streamable(load, serve) {
  const { StreamableHTTPServerTransport } = await load('server/streamableHttp');
  const sessions = new Map();
  return async (req, res) => {
    const id = req.headers['mcp-session-id'];
    let transport = sessions.get(id);
    if (id && !transport) {
      res.writeHead(404).end();
      return;
    }
    if (!transport) {
      transport = new StreamableHTTPServerTransport({
        sessionIdGenerator: () => randomUUID(),
        onsessioninitialized: (id) => { sessions.set(id, transport); },
      });
      const server = serve();
      const closed = server.onclose;
      server.onclose = () => {
        sessions.delete(transport.sessionId);
        closed();
      };
      await server.connect(transport);
    }
    await transport.handleRequest(req, res);
  };
}
