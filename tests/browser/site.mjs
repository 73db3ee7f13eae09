// A web server with one page, so that the browser has an origin to call from.

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';

/** Serves the page on `http://localhost:PORT`. */
export async function servePage(port) {
  const page = await readFile(new URL('page.html', import.meta.url));
  const server = createServer((_, response) => {
    response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8' }).end(page);
  });
  await new Promise((resolve, reject) => {
    server.once('error', (error) => reject(new Error(explain(error, port))));
    server.listen(port, '127.0.0.1', resolve);
  });
  const stop = () => new Promise((resolve) => {
    server.close(resolve);
    server.closeAllConnections();
  });
  return { origin: `http://localhost:${port}`, stop };
}

function explain(error, port) {
  return error.code === 'EADDRINUSE'
    ? `port ${port} is in use, and the page must be served from it: stop what listens there`
    : `port ${port}: ${error.message}`;
}
