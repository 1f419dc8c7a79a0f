// Cohere's own client, version 2 of its API.

import assert from "node:assert/strict";
import { after, before } from "node:test";

import { CohereClientV2, CohereError } from "cohere-ai";

import { testClient } from "./contract.mjs";
import { startRig } from "./rig.mjs";

let rig;
before(async () => (rig = await startRig()));
after(() => rig?.stop());

const clientOf = (rig) => new CohereClientV2({ token: "none", environment: rig.baseURL.replace(/\/v1$/, "") });
const asked = (model, prompt) => ({ model, messages: [{ role: "user", content: prompt }] });

async function collect(iterable) {
  const items = [];
  for await (const item of iterable) items.push(item);
  return items;
}

function seenEvents(events) {
  const content = events.filter((event) => event.type === "content-delta").map((event) => event.delta.message.content);
  const finish = events.find((event) => event.type === "message-end")?.delta.finishReason;
  const textOf = (key) => content.map((part) => part[key] ?? "").join("");
  return { answer: textOf("text"), thinking: textOf("thinking"), finish, raw: events };
}

function seenMessage(response) {
  const textOf = (key) => (response.message.content ?? []).map((part) => part[key] ?? "").join("");
  return { answer: textOf("text"), thinking: textOf("thinking"), finish: response.finishReason, raw: response };
}

const client = {
  styles: ["cohere"],
  showsThinking: ["cohere"],
  finishStop: "COMPLETE",
  finishBlocked: "ERROR_TOXIC",
  stream: async (rig, model, prompt) => seenEvents(await collect(await clientOf(rig).chatStream(asked(model, prompt)))),
  whole: async (rig, model, prompt) => seenMessage(await clientOf(rig).chat(asked(model, prompt))),
  assertRefusal: (error) => {
    assert.ok(error instanceof CohereError, String(error));
    assert.equal(error.statusCode, 400);
  },
};
testClient("cohere-ai", client, () => rig);
