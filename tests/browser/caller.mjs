// A user of the server: makes the tokens, and calls without a browser.

import { createHmac } from 'node:crypto';
import { request } from 'node:http';

export class Caller {
  constructor({ base, secret }) {
    this.base = base;
    this.token = token(secret);
  }

  async get(path) {
    return this.#call('GET', path);
  }

  /** A ticket that nobody has used. */
  async ticket() {
    return (await this.#call('POST', '/api/events/ticket', '{}')).ticket;
  }

  async #call(method, path, body) {
    const headers = { Authorization: `Bearer ${this.token}`, 'Content-Type': 'application/json' };
    const response = await fetch(this.base + path, { method, headers, body });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    return response.json();
  }

  /** What listening with this ticket is answered with. A browser tells its pages nothing of it. */
  statusOf(transport, ticket, origin) {
    const upgrade = {
      Connection: 'Upgrade',
      Upgrade: 'websocket',
      'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': Buffer.alloc(16).toString('base64'),
    };
    const headers = { ...(transport === 'ws' && upgrade), ...(origin && { Origin: origin }) };
    return new Promise((resolve, reject) => {
      const sent = request(this.base + address(transport, ticket), { headers });
      const answered = (response) => {
        resolve(response.statusCode);
        sent.destroy();
      };
      sent.once('response', answered).once('upgrade', answered).once('error', reject).end();
    });
  }
}

/** Where events come from. */
export function address(transport, ticket, { since } = {}) {
  const path = { sse: '/api/events', ws: '/api/ws' }[transport];
  return `${path}?${new URLSearchParams({ ticket, ...(since && { since }) })}`;
}

/** A token for a user of this test, good for five minutes. */
function token(secret) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const claims = {
    sub: 'ada@example.org',
    iss: 'https://www.sidekickportal.com',
    aud: 'orion-core',
    exp: Math.floor(Date.now() / 1000) + 300,
  };
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}
