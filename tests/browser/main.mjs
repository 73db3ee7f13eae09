// The API as a page in a real browser uses it. Run by scripts/browser.sh, which installs what it
// needs. Every wait is for a condition, with a limit, and whatever is started is ended.

import { startBrowser } from './browser.mjs';
import { Caller } from './caller.mjs';
import { flow } from './flow.mjs';
import { within } from './patience.mjs';
import { startServer } from './server.mjs';
import { servePage } from './site.mjs';

/** Milliseconds for all of it. */
const TOTAL = 20_000;
const ALLOWED_PORT = 3000;
const REFUSED_PORT = 3001;

const started = [];

/** Takes note of what is being started, as it has to be ended even if nobody waits for it. */
function start(promise) {
  started.push(promise);
  return promise;
}

async function run() {
  const allowed = await start(servePage(ALLOWED_PORT));
  const refused = await start(servePage(REFUSED_PORT));
  const server = await start(startServer());
  const browser = await start(startBrowser());
  const caller = new Caller(server);
  await flow({ browser, caller, allowed: allowed.origin, refused: refused.origin });
}

function interrupted() {
  return new Promise((_, reject) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
      process.once(signal, () => reject(new Error(`ended by ${signal}`)));
    }
  });
}

function report(error, running) {
  const [what] = error.message.split(/\n\s+at /); // where in the page is no news
  console.error(`FAILED: ${what.replace(/\s+/g, ' ')}`);
  for (const line of running.flatMap((each) => each.lastWords?.() ?? [])) console.error(`  ${line}`);
}

const begin = Date.now();
const failure = await Promise.race([within(TOTAL, 'the whole flow', run()), interrupted()])
  .then(() => null, (error) => error);

const running = (await Promise.allSettled(started)).flatMap(({ value }) => value ?? []);
if (failure) report(failure, running);
await Promise.allSettled(running.map((each) => each.stop()));
if (!failure) console.log(`all of it holds, in ${((Date.now() - begin) / 1000).toFixed(1)} s`);
process.exit(failure ? 1 : 0);
