// Vercel AI SDK: streamText and generateText through three providers.

import assert from "node:assert/strict";
import { after, before } from "node:test";

import { createAnthropic } from "@ai-sdk/anthropic";
import { createCohere } from "@ai-sdk/cohere";
import { createDeepSeek } from "@ai-sdk/deepseek";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, generateText, streamText } from "ai";
import { createOllama } from "ollama-ai-provider-v2";

import { testClient } from "./contract.mjs";
import { startRig } from "./rig.mjs";

let rig;
before(async () => (rig = await startRig()));
after(() => rig?.stop());

const settings = (rig) => ({ name: "guarded", baseURL: rig.baseURL, apiKey: "none" });

function clientWith(modelOf, differences) {
  return {
    finishBlocked: "content-filter",
    stream: async (rig, model, prompt) => {
      const result = streamText({ model: modelOf(rig, model), prompt, onError: () => {} });
      const parts = [];
      for await (const part of result.fullStream) parts.push(part);
      const failed = parts.find((part) => part.type === "error");
      if (failed) throw failed.error;
      const textOf = (type) => parts.filter((part) => part.type === type).map((part) => part.text).join("");
      const { finishReason } = parts.find((part) => part.type === "finish");
      return { answer: textOf("text-delta"), thinking: textOf("reasoning-delta"), finish: finishReason, raw: parts };
    },
    whole: async (rig, model, prompt) => {
      const { text, reasoningText, finishReason, response } = await generateText({ model: modelOf(rig, model), prompt });
      return { answer: text, thinking: reasoningText ?? "", finish: finishReason, raw: response };
    },
    assertRefusal: (error) => {
      assert.ok(APICallError.isInstance(error), String(error));
      assert.deepEqual([error.statusCode, error.data.error.code], [400, "content_policy_violation"]);
    },
    ...differences,
  };
}

const openaiCompatible = (rig, model) => createOpenAICompatible(settings(rig)).chatModel(model);
testClient("openai-compatible", clientWith(openaiCompatible), () => rig);

// It reads only its own vendor's field.
const deepseek = (rig, model) => createDeepSeek(settings(rig)).chat(model);
testClient("deepseek", clientWith(deepseek, { showsThinking: ["deepseek"] }), () => rig);

// It reads no thinking at all.
const openaiChat = (rig, model) => createOpenAI(settings(rig)).chat(model);
testClient("openai.chat", clientWith(openaiChat, { showsThinking: [] }), () => rig);

// The wires of two vendors, each read by the provider of its own.
const ofResponses = { styles: ["responses"], showsThinking: ["responses"], showsWholeThinking: ["responses"] };
const openaiResponses = (rig, model) => createOpenAI(settings(rig)).responses(model);
testClient("openai.responses", clientWith(openaiResponses, ofResponses), () => rig);

const ofMessages = { styles: ["messages"], showsThinking: ["messages"] };
const anthropic = (rig, model) => createAnthropic(settings(rig))(model);
const assertRefusal = (error) => {
  assert.ok(APICallError.isInstance(error), String(error));
  assert.deepEqual([error.statusCode, error.data.error.type], [400, "invalid_request_error"]);
};
testClient("anthropic", clientWith(anthropic, { ...ofMessages, assertRefusal }), () => rig);

// The servers' own wires.
const assertStatus = (error) => {
  assert.ok(APICallError.isInstance(error), String(error));
  assert.equal(error.statusCode, 400);
};
const rootOf = (rig) => rig.baseURL.replace(/\/v1$/, "");

const google = (rig, model) => createGoogleGenerativeAI({ ...settings(rig), baseURL: `${rootOf(rig)}/v1beta` })(model);
const ofGemini = { styles: ["gemini"], showsThinking: ["gemini"], assertRefusal: assertStatus };
testClient("google", clientWith(google, ofGemini), () => rig);

const cohere = (rig, model) => createCohere({ ...settings(rig), baseURL: `${rootOf(rig)}/v2` })(model);
// It does not know the filter's reason of Cohere's first version, and there is none in the second.
const ofCohere = { styles: ["cohere"], showsThinking: ["cohere"], finishBlocked: "other", assertRefusal: assertStatus };
testClient("cohere", clientWith(cohere, ofCohere), () => rig);

const ollama = (rig, model) => createOllama({ baseURL: `${rootOf(rig)}/api` })(model);
const ofOllama = { styles: ["ollama"], showsThinking: ["ollama"], assertRefusal: assertStatus };
testClient("ollama", clientWith(ollama, ofOllama), () => rig);
