// openai-node's Responses: plain calls, the .stream() helper, tool calls.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import OpenAI from "openai";

import { CANCELLED, FINISHED, assertNothingForbidden, testClient } from "./contract.mjs";
import { startRig } from "./rig.mjs";

let rig;
before(async () => (rig = await startRig()));
after(() => rig?.stop());

const clientOf = (rig) => new OpenAI({ baseURL: rig.baseURL, apiKey: "none" });
const finishOf = (response) => (response.status === "incomplete" ? response.incomplete_details.reason : response.status);
const deltas = (events, kind) =>
  events.filter((event) => event.type === `response.${kind}.delta`).map((event) => event.delta).join("");

function seenEvents(events) {
  const { response } = events.at(-1);
  const [thinking, answer] = [deltas(events, "reasoning_summary_text"), deltas(events, "output_text")];
  return { answer, thinking, finish: finishOf(response), raw: events };
}

function seenResponse(response) {
  const summaries = response.output.flatMap((item) => item.summary ?? []).map((part) => part.text);
  return { answer: response.output_text, thinking: summaries.join(""), finish: finishOf(response), raw: response };
}

async function collect(iterable) {
  const items = [];
  for await (const item of iterable) items.push(item);
  return items;
}

const streamEvents = async (model, input, more) =>
  collect(await clientOf(rig).responses.create({ model, input, stream: true, ...more }));

const client = {
  styles: ["responses"],
  showsThinking: ["responses"],
  finishStop: "completed",
  stream: async (rig, model, prompt) => seenEvents(await streamEvents(model, prompt)),
  whole: async (rig, model, prompt) => seenResponse(await clientOf(rig).responses.create({ model, input: prompt })),
  assertRefusal: (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError, String(error));
    assert.deepEqual([error.status, error.code, error.param], [400, "content_policy_violation", "input"]);
  },
};
testClient("openai-node Responses", client, () => rig);

// The helper keeps a response of its own, and fails where an event is about an item or a part that it has not seen.
const helper = {
  ...client,
  stream: async (rig, model, prompt) =>
    seenEvents(await collect(clientOf(rig).responses.stream({ model, input: prompt }))),
};
testClient("openai-node .stream() of Responses", helper, () => rig);

const tools = (scenario) => [{ type: "function", strict: false, ...scenario.tool.function }];

test("openai-node gets no part of a call with blocked arguments", async () => {
  const model = rig.model("responses", "blocked-call");
  const scenario = await rig.scenario(model);
  const seen = seenEvents(await streamEvents(model, scenario.harmlessPrompt, { tools: tools(scenario) }));
  assertNothingForbidden(seen);
  assert.ok(!JSON.stringify(seen.raw).includes("function_call"));
  assert.deepEqual([seen.answer, seen.finish], [scenario.notice, "content_filter"]);
  assert.deepEqual(await rig.tally(model), CANCELLED);
});

test("openai-node gets an unblocked call complete", async () => {
  const model = rig.model("responses", "unblocked-call");
  const scenario = await rig.scenario(model);
  const events = await streamEvents(model, scenario.harmlessPrompt, { tools: tools(scenario) });
  const [call] = events.at(-1).response.output.filter((item) => item.type === "function_call");
  assert.equal(call.arguments, scenario.call);
  assert.deepEqual(await rig.tally(model), FINISHED);
});
