// openai-node: plain calls, the .stream() helper, several choices, tool calls.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import OpenAI from "openai";

import { CANCELLED, FINISHED, STYLES, assertNothingForbidden, testClient } from "./contract.mjs";
import { startRig } from "./rig.mjs";

let rig;
before(async () => (rig = await startRig()));
after(() => rig?.stop());

const clientOf = (rig) => new OpenAI({ baseURL: rig.baseURL, apiKey: "none" });
const request = (model, prompt, more) => ({ model, messages: [{ role: "user", content: prompt }], ...more });

/** The client knows neither field, and hands both on as they came. */
const thinkingOf = (part) => part.reasoning_content ?? part.reasoning ?? "";

function seenChunks(chunks, index = 0) {
  const choices = chunks.flatMap((chunk) => chunk.choices).filter((choice) => choice.index === index);
  return {
    answer: choices.map((choice) => choice.delta.content ?? "").join(""),
    thinking: choices.map((choice) => thinkingOf(choice.delta)).join(""),
    finish: choices.map((choice) => choice.finish_reason).find(Boolean),
    raw: chunks,
  };
}

async function collect(iterable) {
  const items = [];
  for await (const item of iterable) items.push(item);
  return items;
}

async function streamChunks(model, prompt, more, at = rig) {
  return collect(await clientOf(at).chat.completions.create(request(model, prompt, { stream: true, ...more })));
}

testClient(
  "openai-node",
  {
    stream: async (rig, model, prompt) => seenChunks(await streamChunks(model, prompt, {}, rig)),
    whole: async (rig, model, prompt) => {
      const body = await clientOf(rig).chat.completions.create(request(model, prompt));
      const [{ message, finish_reason: finish }] = body.choices;
      return { answer: message.content, thinking: thinkingOf(message), finish, raw: body };
    },
    assertRefusal: (error) => {
      assert.ok(error instanceof OpenAI.BadRequestError, String(error));
      const { status, code, type, param } = error;
      assert.deepEqual([status, code, type, param], [400, "content_policy_violation", "invalid_request_error", "messages"]);
    },
  },
  () => rig,
);

for (const style of STYLES) {
  test(`openai-node gets the usage of an unblocked stream (${style})`, async () => {
    const model = rig.model(style, "unblocked");
    const { harmlessPrompt, usage } = await rig.scenario(model);
    const chunks = await streamChunks(model, harmlessPrompt, { stream_options: { include_usage: true } });
    assert.deepEqual(chunks.map((chunk) => chunk.usage).filter(Boolean), [usage]);
  });
}

// === The .stream() helper ===

for (const style of STYLES) {
  for (const story of ["blocked-thinking", "blocked-answer"]) {
    test(`openai-node's .stream() helper takes a blocked stream for a complete one (${style}, ${story})`, async () => {
      const model = rig.model(style, story);
      const expected = await rig.scenario(model);
      const stream = clientOf(rig).chat.completions.stream(request(model, expected.harmlessPrompt));
      const seen = seenChunks(await collect(stream));
      const completion = await stream.finalChatCompletion();
      assertNothingForbidden(seen);
      assertNothingForbidden({ raw: completion });
      assert.equal(completion.choices[0].finish_reason, "content_filter");
      assert.equal(completion.choices[0].message.content, seen.answer);
      assert.equal(seen.answer.endsWith(expected.notice), story === "blocked-thinking");
      assert.deepEqual(await rig.tally(model), CANCELLED);
    });
  }
}

// === Several choices ===

for (const style of STYLES) {
  async function assertBothEnded(model, [talking, silent], expected) {
    assertNothingForbidden(talking);
    assert.equal(talking.answer, expected.content[0]);
    assert.ok(silent.answer.startsWith(expected.content[1]) && silent.answer.endsWith(expected.notice), silent.answer);
    assert.deepEqual([talking.finish, silent.finish], ["content_filter", "content_filter"]);
    assert.deepEqual(await rig.tally(model), CANCELLED);
  }

  test(`a match in one choice ends both and only the silent one gets the notice (${style})`, async () => {
    const model = rig.model(style, "blocked-one-of-two");
    const expected = await rig.scenario(model);
    const chunks = await streamChunks(model, expected.harmlessPrompt, { n: 2 });
    await assertBothEnded(model, [seenChunks(chunks, 0), seenChunks(chunks, 1)], expected);
  });

  test(`a match in one choice leaves the .stream() helper two finished choices (${style})`, async () => {
    const model = rig.model(style, "blocked-one-of-two");
    const expected = await rig.scenario(model);
    const completion = await clientOf(rig).chat.completions.stream(request(model, expected.harmlessPrompt, { n: 2 })).finalChatCompletion();
    const seen = completion.choices.map(({ message, finish_reason: finish }) => ({ answer: message.content, finish, raw: completion }));
    await assertBothEnded(model, seen, expected);
  });
}

// === Tool calls ===

const callsOf = (chunks) => chunks.flatMap((chunk) => chunk.choices).flatMap((choice) => choice.delta.tool_calls ?? []);

for (const style of STYLES) {
  test(`an unblocked call arrives complete (${style})`, async () => {
    const model = rig.model(style, "unblocked-call");
    const { call, tool, harmlessPrompt } = await rig.scenario(model);
    const chunks = await streamChunks(model, harmlessPrompt, { tools: [tool] });
    const calls = callsOf(chunks);
    assert.deepEqual(calls.map((part) => part.function.name).filter(Boolean), [tool.function.name]);
    assert.equal(calls.map((part) => part.function.arguments).join(""), call);
    assert.equal(seenChunks(chunks).finish, "tool_calls");
    assert.deepEqual(await rig.tally(model), FINISHED);
  });

  test(`a call with blocked arguments never arrives, not even in part (${style})`, async () => {
    const model = rig.model(style, "blocked-call");
    const { tool, harmlessPrompt, notice } = await rig.scenario(model);
    const chunks = await streamChunks(model, harmlessPrompt, { tools: [tool] });
    const seen = seenChunks(chunks);
    assertNothingForbidden(seen);
    assert.deepEqual(callsOf(chunks), []);
    assert.ok(seen.answer.endsWith(notice), seen.answer);
    assert.equal(seen.finish, "content_filter");
    assert.deepEqual(await rig.tally(model), CANCELLED);
  });

  test(`the .stream() helper gets no part of a call with blocked arguments either (${style})`, async () => {
    const model = rig.model(style, "blocked-call");
    const { tool, harmlessPrompt } = await rig.scenario(model);
    const completion = await clientOf(rig).chat.completions.stream(request(model, harmlessPrompt, { tools: [tool] })).finalChatCompletion();
    assertNothingForbidden({ raw: completion });
    assert.equal(completion.choices[0].message.tool_calls, undefined);
    assert.equal(completion.choices[0].finish_reason, "content_filter");
  });
}

// === The model asked again ===

for (const style of STYLES) {
  test(`openai-node gathers a stream that was asked again into one message (${style})`, async () => {
    const model = rig.model(style, "asked-again");
    const { content, harmlessPrompt } = await rig.scenario(model);
    const stream = clientOf(rig.askingAgain()).chat.completions.stream(request(model, harmlessPrompt));
    const chunks = await collect(stream);
    assert.deepEqual([...new Set(chunks.map((chunk) => chunk.id))], ["chatcmpl-client-tests"]);
    const finishes = chunks.flatMap((chunk) => chunk.choices).flatMap((choice) => choice.finish_reason ?? []);
    assert.deepEqual(finishes, ["stop"]);
    const { message } = (await stream.finalChatCompletion()).choices[0];
    assert.deepEqual([message.role, message.content], ["assistant", content[0]]);
  });
}
