// What every client must see, whichever way it calls: the counterpart of contract.py.
//
// A client is an object with `stream` and `whole` (each `async (rig, model, prompt) => {answer, thinking, finish, raw}`),
// `assertRefusal(error)`, and where it differs: `styles` (the wires that it speaks), `finishStop`, `finishBlocked`,
// `showsThinking` and `showsWholeThinking` (the styles whose thinking the client tells apart and gives to its caller).

import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";

import { eventually } from "./rig.mjs";

export const STYLES = ["deepseek", "vllm", "tags"];
export const FINISHED = { requests: 1, finished: 1, cancelled: 0 };
export const CANCELLED = { requests: 1, finished: 0, cancelled: 1 };
export const ASKED_AGAIN = { requests: 2, finished: 1, cancelled: 1 };

const EVERYTHING = { depth: Infinity, maxArrayLength: Infinity, maxStringLength: Infinity };

export function testClient(name, client, rigOf) {
  const { stream, whole, assertRefusal, finishStop = "stop", finishBlocked = "content_filter" } = client;
  const { styles = STYLES, showsThinking = ["deepseek", "vllm"], showsWholeThinking = showsThinking } = client;

  async function ask(how, style, story, rig = rigOf()) {
    const model = rig.model(style, story);
    const expected = await rig.scenario(model);
    const seen = await how(rig, model, expected.harmlessPrompt);
    return { seen, expected, tally: await rig.tally(model) };
  }

  for (const style of styles) {
    test(`${name} delivers an unblocked stream whole (${style})`, async () => {
      const { seen, expected, tally } = await ask(stream, style, "unblocked");
      assertText(seen, expected, style, { showsThinking });
      assert.equal(seen.finish, finishStop);
      assert.deepEqual(tally, FINISHED);
    });

    test(`${name} ends a stream blocked in its thinking with the notice (${style})`, async () => {
      const { seen, expected, tally } = await ask(stream, style, "blocked-thinking");
      assertNothingForbidden(seen);
      assertText(seen, expected, style, { showsThinking, notice: expected.notice });
      assert.equal(seen.finish, finishBlocked);
      assert.deepEqual(tally, CANCELLED);
    });

    test(`${name} cuts a stream blocked in its answer just before the match (${style})`, async () => {
      const { seen, expected, tally } = await ask(stream, style, "blocked-answer");
      assertNothingForbidden(seen);
      assertText(seen, expected, style, { showsThinking });
      assert.equal(seen.finish, finishBlocked);
      assert.deepEqual(tally, CANCELLED);
    });

    test(`${name} takes a stream that was asked again for one response (${style})`, async () => {
      const { seen, expected, tally } = await ask(stream, style, "asked-again", rigOf().askingAgain());
      assertNothingForbidden(seen);
      if (STYLES.includes(style)) {
        assertText(seen, expected, style, { showsThinking });
        assert.equal(seen.finish, "stop");
        assert.deepEqual(tally, ASKED_AGAIN);
      } else {
        // Only completions can be gone on with: elsewhere a refusal stands.
        assert.equal(seen.finish, finishBlocked);
        assert.deepEqual(tally, CANCELLED);
      }
    });

    test(`${name} delivers an unblocked body whole (${style})`, async () => {
      const { seen, expected, tally } = await ask(whole, style, "unblocked");
      assertText(seen, expected, style, { showsThinking: showsWholeThinking });
      assert.equal(seen.finish, finishStop);
      assert.deepEqual(tally, FINISHED);
    });

    for (const [kind, how] of Object.entries({ stream, body: whole })) {
      test(`${name} shows a mask wherever the words stand (${style}, ${kind})`, async () => {
        const { seen, tally } = await ask(how, style, "masked");
        assert.doesNotMatch(inspect(seen.raw, EVERYTHING), /magpie/i);
        assert.ok(seen.answer.endsWith("There lives a [redacted], the [redacted] of old."), seen.answer);
        assert.equal(seen.finish, finishStop);
        assert.deepEqual(tally, FINISHED);
      });
    }

    for (const story of ["blocked-thinking", "blocked-answer"]) {
      test(`${name} gets the notice instead of a blocked body (${style}, ${story})`, async () => {
        const { seen, expected, tally } = await ask(whole, style, story);
        assertNothingForbidden(seen);
        assert.equal(seen.answer, expected.notice);
        assert.equal(seen.finish, finishBlocked);
        assert.deepEqual(tally, FINISHED);
      });
    }
  }

  for (const [kind, how] of Object.entries({ stream, body: whole })) {
    test(`${name} raises its own error for a blocked prompt and does not retry (${kind})`, async () => {
      const rig = rigOf();
      const model = rig.model(styles[0], "unblocked");
      const { blockedPrompt } = await rig.scenario(model);
      const refusals = await rig.refusals();
      await assert.rejects(how(rig, model, blockedPrompt), (error) => {
        assertRefusal(error);
        return true;
      });
      assert.equal((await rig.tally(model)).requests, 0);
      // A request is counted when its response has ended, which may be later than its last byte's arrival here.
      assert.ok(await eventually(async () => (await rig.refusals()) > refusals));
      assert.equal(await rig.refusals(), refusals + 1);
    });
  }
}

export function assertText(seen, expected, style, { showsThinking, notice = "" }) {
  const told = style !== "tags" || showsThinking.includes(style) ? expected.answer[0] : expected.content[0];
  if (style === "tags" && notice) {
    // Where thinking between tags is cut, the guard may close it, with or without a blank line, before the notice.
    assert.ok(seen.answer.startsWith(told), seen.answer);
    assert.equal(seen.answer.slice(told.length).replace(/^<\/think>/, "").trimStart(), notice);
  } else {
    assert.equal(seen.answer, told + notice);
  }
  if (showsThinking.includes(style)) assert.equal(seen.thinking, expected.thinking[0]);
}

export function assertNothingForbidden(seen) {
  assert.doesNotMatch(inspect(seen.raw, EVERYTHING), /forb|falc/i);
}
