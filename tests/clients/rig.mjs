// Starts the fake upstream with thinkgate before it, and tells what the two saw.

import { spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { createInterface } from "node:readline";

const HERE = process.env.CLIENT_TESTS_DIR;
const DEADLINE_MS = 20_000;

export async function startRig() {
  const upstream = await startProcess(process.env.CLIENT_TESTS_PYTHON, path.join(HERE, "fake_upstream.py"));
  const guard = await startProcess(
    process.env.THINKGATE_BIN,
    ...["serve", "--upstream", `http://${upstream.listening}`, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"],
    ...["--config", path.join(HERE, "thinkgate.yaml"), "--mode", "enforce", "--rules", path.join(HERE, "pack.yaml"), "--no-classifier"],
  ).catch(async (error) => {
    await upstream.stop();
    throw error;
  });
  let serial = 0;

  return {
    baseURL: `http://${guard.listening}/v1`,

    /** The same on the route on which the model is asked again. */
    askingAgain() {
      return { ...this, baseURL: `http://${guard.listening}/asking-again/v1` };
    },

    /** A `model` value for this scenario that nobody has used before. */
    model: (style, story) => `${style}.${story}--node-${++serial}`,

    /** `{requests, finished, cancelled}` once no exchange of this model is open any more. */
    tally: async (model) => JSON.parse(await fetchText(`http://${upstream.listening}/control/${model}`)),

    /** The texts that a test of this scenario compares with. */
    scenario: async (model) => JSON.parse(await fetchText(`http://${upstream.listening}/scenario/${model}`)),

    /** How many requests thinkgate has answered with 400 up to now. */
    refusals: async () => {
      const metrics = await fetchText(`http://${guard.admin}/metrics`);
      const counts = metrics.matchAll(/^thinkgate_requests_total\{.*code="400".*\} (\S+)$/gm);
      return [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
    },

    stop: async () => {
      await guard.stop();
      await upstream.stop();
    },
  };
}

/** Whether the condition comes true before the deadline. */
export async function eventually(condition) {
  const deadline = Date.now() + DEADLINE_MS;
  while (Date.now() < deadline) {
    if (await condition()) return true;
    await new Promise((wake) => setTimeout(wake, 10));
  }
  return condition();
}

async function fetchText(url) {
  const response = await fetch(url, { signal: AbortSignal.timeout(DEADLINE_MS) });
  return response.text();
}

/** A program that says on its first line of output where it listens. */
async function startProcess(command, ...args) {
  // thinkgate takes every variable of this prefix for a setting: neither ours nor the caller's are meant for it here.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("THINKGATE_")));
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"], env });
  const exit = once(child, "exit");
  const firstLine = await Promise.race([
    once(createInterface(child.stdout), "line").then(([line]) => line),
    exit.then(([code]) => Promise.reject(new Error(`${command} ended with ${code} before it listened`))),
  ]);
  const stop = async () => {
    child.stdin.end();
    child.kill("SIGTERM");
    const last = setTimeout(() => child.kill("SIGKILL"), DEADLINE_MS);
    await exit;
    clearTimeout(last);
  };
  return { ...JSON.parse(firstLine), stop };
}
