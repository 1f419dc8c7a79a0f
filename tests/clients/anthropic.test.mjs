// Anthropic's own client: plain calls, the .stream() helper, tool calls.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import Anthropic from "@anthropic-ai/sdk";

import { CANCELLED, FINISHED, assertNothingForbidden, testClient } from "./contract.mjs";
import { startRig } from "./rig.mjs";

let rig;
before(async () => (rig = await startRig()));
after(() => rig?.stop());

const clientOf = (rig) => new Anthropic({ baseURL: rig.baseURL.replace(/\/v1$/, ""), apiKey: "none" });
const request = (model, prompt, more) => ({
  model,
  max_tokens: 4096,
  thinking: { type: "enabled", budget_tokens: 1024 },
  messages: [{ role: "user", content: prompt }],
  ...more,
});

function seenEvents(events) {
  const textOf = (key) => events.map((event) => event.delta?.[key] ?? "").join("");
  const finish = events.find((event) => event.type === "message_delta")?.delta.stop_reason;
  return { answer: textOf("text"), thinking: textOf("thinking"), finish, raw: events };
}

function seenMessage(message) {
  const textOf = (kind) => message.content.filter((block) => block.type === kind).map((block) => block[kind]).join("");
  return { answer: textOf("text"), thinking: textOf("thinking"), finish: message.stop_reason, raw: message };
}

async function collect(iterable) {
  const items = [];
  for await (const item of iterable) items.push(item);
  return items;
}

const client = {
  styles: ["messages"],
  showsThinking: ["messages"],
  finishStop: "end_turn",
  finishBlocked: "refusal",
  stream: async (rig, model, prompt) =>
    seenEvents(await collect(await clientOf(rig).messages.create(request(model, prompt, { stream: true })))),
  whole: async (rig, model, prompt) => seenMessage(await clientOf(rig).messages.create(request(model, prompt))),
  assertRefusal: (error) => {
    assert.ok(error instanceof Anthropic.BadRequestError, String(error));
    assert.deepEqual([error.status, error.error.error.type], [400, "invalid_request_error"]);
  },
};
testClient("anthropic", client, () => rig);

// The helper puts the message together from the events, and fails where one is about a block that was not opened.
const helper = {
  ...client,
  stream: async (rig, model, prompt) => seenMessage(await clientOf(rig).messages.stream(request(model, prompt)).finalMessage()),
};
testClient("anthropic .stream()", helper, () => rig);

const tools = ({ tool }) => [{ name: tool.function.name, input_schema: tool.function.parameters }];

test("anthropic gets no part of a call with blocked arguments", async () => {
  const model = rig.model("messages", "blocked-call");
  const scenario = await rig.scenario(model);
  const asked = request(model, scenario.harmlessPrompt, { stream: true, tools: tools(scenario) });
  const seen = seenEvents(await collect(await clientOf(rig).messages.create(asked)));
  assertNothingForbidden(seen);
  assert.ok(!JSON.stringify(seen.raw).includes("tool_use"));
  assert.deepEqual([seen.answer, seen.finish], [scenario.notice, "refusal"]);
  assert.deepEqual(await rig.tally(model), CANCELLED);
});

test("anthropic gets an unblocked call complete", async () => {
  const model = rig.model("messages", "unblocked-call");
  const scenario = await rig.scenario(model);
  const stream = clientOf(rig).messages.stream(request(model, scenario.harmlessPrompt, { tools: tools(scenario) }));
  const message = await stream.finalMessage();
  assert.deepEqual(message.content.find((block) => block.type === "tool_use").input, JSON.parse(scenario.call));
  assert.deepEqual(await rig.tally(model), FINISHED);
});
