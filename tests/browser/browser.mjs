// Chromium, and its tabs as this test uses them.

import { chromium } from 'playwright-core';
import { address } from './caller.mjs';
import { STEP } from './patience.mjs';

const CHROMIUM = process.env.CHROMIUM || '/usr/bin/chromium';

/** Starts Debian's Chromium without a window. Its tabs are those of one user. */
export async function startBrowser() {
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    timeout: STEP,
    // Its sandbox needs what root and containers lack; the only pages are our own.
    chromiumSandbox: false,
    // The page is on one of the two addresses of localhost: whoever has the other is not asked.
    args: ['--host-resolver-rules=MAP localhost 127.0.0.1', '--disable-dev-shm-usage'],
    // Whoever started it ends it, whatever happens.
    handleSIGINT: false,
    handleSIGTERM: false,
    handleSIGHUP: false,
  });
  const context = await browser.newContext();
  const tabs = [];
  return {
    async tab(name, origin, caller) {
      const tab = new Tab(name, origin, await context.newPage());
      tabs.push(tab);
      await tab.open(caller);
      return tab;
    },
    lastWords: () => tabs.flatMap((tab) => tab.console.map((line) => `${tab.name}: ${line}`)),
    stop: () => browser.close(),
  };
}

/** A tab with the page in it. Each verb runs in the page, as its own script would do it. */
class Tab {
  /** All that its console holds. */
  console = [];

  constructor(name, origin, page) {
    Object.assign(this, { name, origin, page });
    page.on('console', (message) => {
      this.console.push(`${message.type()}: ${message.text()} ${message.location().url}`);
    });
    page.on('pageerror', (error) => this.console.push(`error: uncaught ${error.message}`));
  }

  /** What of its console is an error. */
  get errors() {
    return this.console.filter((line) => line.startsWith('error: '));
  }

  async open({ base, token }) {
    await this.page.goto(this.origin, { timeout: STEP });
    await this.page.evaluate(([base, token]) => chat.signIn(base, token), [base, token]);
  }

  get(path) {
    return this.page.evaluate((path) => chat.call('GET', path), path);
  }

  post(path, body) {
    return this.page.evaluate(([path, body]) => chat.call('POST', path, body), [path, body]);
  }

  /** Resolves once the stream is open, rejects if it does not open. */
  listen(transport, ticket, options) {
    const path = address(transport, ticket, options);
    return this.page.evaluate(([transport, path]) => chat.listen(transport, path), [transport, path]);
  }

  hangUp(transport) {
    return this.page.evaluate((transport) => chat.hangUp(transport), transport);
  }

  /** The event of this message; waits until it is there. */
  arrival(transport, id) {
    return this.page.evaluate(([transport, id]) => chat.arrival(transport, id), [transport, id]);
  }

  /** The ids of the messages that came, in the order in which they came. */
  arrivals(transport) {
    return this.page.evaluate((transport) => chat.arrivals(transport), transport);
  }
}
