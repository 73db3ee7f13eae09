// A web app's day: two tabs of a page from an allowed origin, and the same page from another. Each
// step is a thing that must hold, and is printed once it does; the first that does not ends it.

import assert from 'node:assert/strict';
import { step } from './patience.mjs';

const TRANSPORTS = ['sse', 'ws'];

/**
 * The whole flow.
 *
 * @param browser from `startBrowser`
 * @param caller  the user whose tabs these are, outside of the browser
 * @param allowed an origin that the server allows by default
 * @param refused one that it does not
 */
export async function flow({ browser, caller, allowed, refused }) {
  const a = await browser.tab('tab A', allowed, caller);
  const b = await browser.tab('tab B', allowed, caller);
  const session = await aPageUsesSessions(a, b);
  await twoTabsStayTheSame(a, b, session, caller);
  await step('no tab has an error in its console', async () => {
    assert.deepEqual([...a.errors, ...b.errors], []);
  });
  await aPageReadsWhatIsWrong(await browser.tab('tab C', allowed, caller));
  await anotherOriginIsRefused(await browser.tab('stranger', refused, caller), caller);
}

async function aPageUsesSessions(a, b) {
  const session = await step('a page of an allowed origin creates a session', async () => {
    const created = await a.post('/api/sessions/create', { firstMessage: 'What is a monad?' });
    assert.equal(created.status, 201);
    assert.ok(created.requestId, 'it cannot read X-Request-Id');
    return created.body.sessionId;
  });
  await step('another tab lists it', async () => {
    const { status, body } = await b.get('/api/sessions/list');
    assert.equal(status, 200);
    assert.deepEqual(body.sessions.map((each) => each.sessionId), [session]);
  });
  await step('what one tab writes, the other reads', async () => {
    const saved = await b.post('/api/sessions/save-message', {
      sessionId: session, role: 'assistant', content: 'A monoid, of course.',
    });
    assert.equal(saved.status, 201);
    const { body } = await a.get(`/api/sessions/messages?sessionId=${session}`);
    assert.deepEqual(body.messages.at(-1), saved.body);
    assert.equal(body.count, 2);
  });
  return session;
}

async function twoTabsStayTheSame(a, b, sessionId, caller) {
  const say = async (content) => {
    const saved = await b.post('/api/sessions/save-message', { sessionId, role: 'user', content });
    assert.equal(saved.status, 201);
    return saved.body;
  };

  const used = {};
  for (const transport of TRANSPORTS) {
    await step(`tab A takes a ticket and listens (${transport})`, async () => {
      used[transport] = await ticket(a);
      await a.listen(transport, used[transport]);
    });
  }

  const first = await step('tab B saves a message', () => say('And a monoid?'));
  const arrived = {};
  for (const transport of TRANSPORTS) {
    await step(`tab A sees it arrive (${transport})`, async () => {
      arrived[transport] = await a.arrival(transport, first.id);
      const { cursor, at, session, message, ...rest } = arrived[transport];
      assert.deepEqual(rest, { type: 'message.created', sessionId });
      assert.deepEqual(message, first);
      assert.equal(session.sessionId, sessionId);
      assert.equal(session.lastMessage, first.content);
      assert.ok(typeof cursor === 'string' && cursor.length > 0, `its cursor is ${cursor}`);
      assert.ok(!Number.isNaN(Date.parse(at)), `its time is ${at}`);
    });
  }
  await step('both bring the same event', async () => {
    assert.deepEqual(arrived.sse, arrived.ws);
  });

  await step('tab A misses nothing while it is away, and gets nothing twice', async () => {
    const missed = [];
    for (const transport of TRANSPORTS) await a.hangUp(transport);
    for (const content of ['Are you there?', 'Hello?']) missed.push((await say(content)).id);
    for (const transport of TRANSPORTS) {
      await a.listen(transport, await ticket(a), { since: arrived[transport].cursor });
      await a.arrival(transport, missed.at(-1));
      assert.deepEqual(await a.arrivals(transport), [first.id, ...missed], transport);
    }
  });
  await step('a ticket is good once', async () => {
    const again = [await caller.statusOf('sse', used.ws), await caller.statusOf('ws', used.sse)];
    assert.deepEqual(again, [401, 401]);
  });
}

async function ticket(tab) {
  const { status, body } = await tab.post('/api/events/ticket', {});
  assert.equal(status, 201, `the ticket is answered with ${status}: ${JSON.stringify(body)}`);
  assert.ok(body.ticket && body.expiresAt && body.cursor, JSON.stringify(body));
  return body.ticket;
}

async function aPageReadsWhatIsWrong(tab) {
  await step('a page reads what is wrong with a call', async () => {
    const { status, body } = await tab.get('/api/sessions/list?limit=many');
    assert.equal(status, 400);
    assert.equal(body.code, 'invalid_limit');
  });
}

async function anotherOriginIsRefused(tab, caller) {
  const before = await caller.get('/api/sessions/list');
  await step('a page of another origin can neither read nor write', async () => {
    await assert.rejects(tab.get('/api/sessions/list'), /Failed to fetch/);
    await assert.rejects(tab.post('/api/sessions/create', {}), /Failed to fetch/);
    assert.deepEqual(await caller.get('/api/sessions/list'), before);
  });
  await step('nor listen, not with a good ticket', async () => {
    for (const transport of TRANSPORTS) {
      const opened = tab.listen(transport, await caller.ticket());
      await assert.rejects(opened, /did not open/, `${transport} opened`);
    }
    assert.equal(await caller.statusOf('ws', await caller.ticket(), tab.origin), 403);
  });
  // Else the empty consoles of the others would prove nothing.
  await step('its console says why', async () => {
    assert.match(tab.errors.join('\n'), /blocked by CORS policy/);
  });
}
