// LangChain for JavaScript: ChatOpenAI and ChatDeepSeek.

import assert from "node:assert/strict";
import { after, before } from "node:test";

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

function clientWith(chatOf, differences) {
  return {
    stream: async (rig, model, prompt) => {
      const chunks = [];
      for await (const chunk of await chatOf(rig, model).stream(prompt)) chunks.push(chunk);
      return seenMessage(chunks.reduce((whole, chunk) => whole.concat(chunk)), chunks);
    },
    whole: async (rig, model, prompt) => {
      const message = await chatOf(rig, model).invoke(prompt);
      return seenMessage(message, message);
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
