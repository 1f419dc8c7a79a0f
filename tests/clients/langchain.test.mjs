// LangChain for JavaScript: ChatOpenAI (chat completions and Responses), ChatDeepSeek and ChatAnthropic.

import assert from "node:assert/strict";
import { after, before } from "node:test";

import { ChatAnthropic } from "@langchain/anthropic";
import { ChatDeepSeek } from "@langchain/deepseek";
import { ChatOpenAI } from "@langchain/openai";
import OpenAI from "openai";

import { testClient } from "./contract.mjs";
import { startRig } from "./rig.mjs";

let rig;
before(async () => (rig = await startRig()));
after(() => rig?.stop());

const options = (rig, model) => ({ model, apiKey: "none", configuration: { baseURL: rig.baseURL } });

const seenMessage = (message, raw) => ({
  answer: message.text,
  thinking: message.additional_kwargs.reasoning_content ?? "",
  finish: message.response_metadata.finish_reason,
  raw,
});

function clientWith(chatOf, { seen = seenMessage, ...differences }) {
  return {
    stream: async (rig, model, prompt) => {
      const chunks = [];
      for await (const chunk of await chatOf(rig, model).stream(prompt)) chunks.push(chunk);
      return seen(chunks.reduce((whole, chunk) => whole.concat(chunk)), chunks);
    },
    whole: async (rig, model, prompt) => {
      const message = await chatOf(rig, model).invoke(prompt);
      return seen(message, message);
    },
    assertRefusal: (error) => {
      assert.ok(error instanceof OpenAI.BadRequestError, String(error));
      assert.deepEqual([error.status, error.code], [400, "content_policy_violation"]);
    },
    ...differences,
  };
}

// Neither reads vLLM's `reasoning`.
testClient("ChatOpenAI", clientWith((rig, model) => new ChatOpenAI(options(rig, model)), { showsThinking: ["deepseek"] }), () => rig);

// It takes tags out of a stream and leaves them in a whole body. The notice is answer text only because the guard closes
// the thinking before it: without `</think>` it would come out as thinking.
const differences = { showsThinking: ["deepseek", "tags"], showsWholeThinking: ["deepseek"] };
testClient("ChatDeepSeek", clientWith((rig, model) => new ChatDeepSeek(options(rig, model)), differences), () => rig);

// The wires of two vendors. Thinking comes as content blocks, which LangChain puts into one form for all.
const thinkingOf = (message) =>
  message.contentBlocks.filter((block) => block.type === "reasoning").map((block) => block.reasoning).join("");

const ofResponses = {
  styles: ["responses"],
  showsThinking: ["responses"],
  seen: (message, raw) => {
    const { status, incomplete_details: incomplete } = message.response_metadata;
    const finish = incomplete?.reason ?? (status === "completed" ? "stop" : status);
    return { answer: message.text, thinking: thinkingOf(message), finish, raw };
  },
};
const responses = (rig, model) => new ChatOpenAI({ ...options(rig, model), useResponsesApi: true });
testClient("ChatOpenAI with Responses", clientWith(responses, ofResponses), () => rig);

const ofMessages = {
  styles: ["messages"],
  showsThinking: ["messages"],
  finishStop: "end_turn",
  finishBlocked: "refusal",
  seen: (message, raw) => {
    const finish = message.response_metadata.stop_reason ?? message.additional_kwargs.stop_reason;
    return { answer: message.text, thinking: thinkingOf(message), finish, raw };
  },
  assertRefusal: (error) => {
    assert.equal(error.status, 400);
    assert.equal(error.error.error.type, "invalid_request_error");
  },
};
const messages = (rig, model) => {
  const thinking = { type: "enabled", budget_tokens: 1024 };
  return new ChatAnthropic({ model, apiKey: "none", anthropicApiUrl: rig.baseURL.replace(/\/v1$/, ""), maxTokens: 4096, thinking });
};
testClient("ChatAnthropic", clientWith(messages, ofMessages), () => rig);
