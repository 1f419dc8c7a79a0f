// @google/genai: plain calls and chats, which judge whether a turn is valid.

import assert from "node:assert/strict";
import { after, before } from "node:test";

import { ApiError, GoogleGenAI } from "@google/genai";

import { testClient } from "./contract.mjs";
import { startRig } from "./rig.mjs";

let rig;
before(async () => (rig = await startRig()));
after(() => rig?.stop());

const clientOf = (rig) => new GoogleGenAI({ apiKey: "none", httpOptions: { baseUrl: rig.baseURL.replace(/\/v1$/, "") } });
const config = { thinkingConfig: { includeThoughts: true } };

async function collect(iterable) {
  const items = [];
  for await (const item of iterable) items.push(item);
  return items;
}

function seen(chunks) {
  const candidates = chunks.flatMap((chunk) => chunk.candidates ?? []);
  const parts = candidates.flatMap((candidate) => candidate.content?.parts ?? []);
  const textOf = (thought) => parts.filter((part) => Boolean(part.thought) === thought).map((part) => part.text ?? "").join("");
  const finish = candidates.find((candidate) => candidate.finishReason)?.finishReason;
  return { answer: textOf(false), thinking: textOf(true), finish, raw: chunks };
}

const client = {
  styles: ["gemini"],
  showsThinking: ["gemini"],
  finishStop: "STOP",
  finishBlocked: "SAFETY",
  stream: async (rig, model, prompt) =>
    seen(await collect(await clientOf(rig).models.generateContentStream({ model, contents: prompt, config }))),
  whole: async (rig, model, prompt) => seen([await clientOf(rig).models.generateContent({ model, contents: prompt, config })]),
  assertRefusal: (error) => {
    assert.ok(error instanceof ApiError, String(error));
    assert.equal(error.status, 400);
    assert.match(error.message, /stopped by a safety policy/);
  },
};
testClient("@google/genai", client, () => rig);

const chat = {
  ...client,
  stream: async (rig, model, message) =>
    seen(await collect(await clientOf(rig).chats.create({ model, config }).sendMessageStream({ message }))),
  whole: async (rig, model, message) => seen([await clientOf(rig).chats.create({ model, config }).sendMessage({ message })]),
};
testClient("@google/genai chat", chat, () => rig);
