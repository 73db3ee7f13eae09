// The server under test, as a process of its own with a folder of its own.

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

const BINARY = resolve(process.env.ORION_CHAT || 'target/debug/orion-chat');

/**
 * Starts the binary that ORION_CHAT names on a free port, with a secret of its own and nothing else
 * of this process's environment. Resolves once it listens.
 */
export async function startServer() {
  const folder = await mkdtemp(join(tmpdir(), 'orion-chat-browser-'));
  const secret = randomBytes(32).toString('hex');
  const child = spawn(BINARY, ['--listen', '127.0.0.1:0'], {
    cwd: folder,
    env: { ORION_SHARED_JWT_SECRET: secret },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  process.once('exit', () => child.kill('SIGKILL'));
  const ended = new Promise((done) => child.once('close', done).once('error', done));
  const log = [];
  const stop = async () => {
    child.kill('SIGKILL');
    await ended;
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const base = await listens(child, log);
    return { base, secret, stop, lastWords: () => log.slice(-10).map((line) => `server: ${line}`) };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The address in its start-up line. Its log is read on from there, so that it never blocks. */
function listens(child, log) {
  return new Promise((resolve, reject) => {
    createInterface({ input: child.stderr }).on('line', (line) => {
      log.push(line);
      const found = /listening on (http:\/\/[\w.:[\]]+)/.exec(line);
      if (found) resolve(found[1]);
    });
    child.once('error', (error) => reject(new Error(`${BINARY} cannot be started: ${error.message}`)));
    child.once('close', (code) => {
      reject(new Error(`${BINARY} ended with ${code} before it listened: ${log.slice(-3).join(' | ')}`));
    });
  });
}
