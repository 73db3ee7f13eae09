// Waiting, with a limit.

/** Milliseconds for one step. */
export const STEP = 8_000;

/** The outcome of `promise`; rejects if there is none within so many milliseconds. */
export async function within(milliseconds, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    const text = `${what}: nothing within ${milliseconds / 1000} s`;
    timer = setTimeout(() => reject(new Error(text)), milliseconds);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Does `check`, and says that it held. Rejects with an error that names the step. */
export async function step(what, check) {
  const begin = performance.now();
  const outcome = check().catch((error) => {
    throw new Error(`${what}: ${error.message}`, { cause: error });
  });
  const result = await within(STEP, what, outcome);
  console.log(`ok: ${what} (${Math.round(performance.now() - begin)} ms)`);
  return result;
}
