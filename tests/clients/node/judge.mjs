// What OpenAI's and Anthropic's clients for Node and the AI SDK make of a running server.
//
//     node judge.mjs http://127.0.0.1:8000 MODEL ["a text that the model says again"]
//
// Each line of the output is the result of one check, as JSON: {"name": …, "value": …} or {"name": …, "error": …}.

import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import Anthropic from "@anthropic-ai/sdk";
import { generateObject, generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";
import OpenAI from "openai";

globalThis.AI_SDK_LOG_WARNINGS = false;

const [url, model, text = "Привет, one two"] = process.argv.slice(2);
const messages = [{ role: "user", content: text }];

async function check(name, run) {
  let result;
  try {
    result = { name, value: await run() };
  } catch (error) {
    result = { name, error: `${error.name}: ${error.message}`.slice(0, 1000) };
  }
  console.log(JSON.stringify(result));
}

const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: "any", maxRetries: 0 });

await check("openai: chat.completions.stream", () =>
  openai.chat.completions.stream({ model, messages, max_tokens: 60 }).finalContent(),
);

await check("openai: responses.create", async () => {
  const response = await openai.responses.create({ model, input: text, max_output_tokens: 60 });
  return response.output_text;
});

await check("openai: responses.stream", async () => {
  const response = await openai.responses.stream({ model, input: text, max_output_tokens: 60 }).finalResponse();
  return response.output_text;
});

await check("openai: responses.stream, cut off", async () => {
  const response = await openai.responses.stream({ model, input: text, max_output_tokens: 2 }).finalResponse();
  return `${response.status}: ${response.incomplete_details.reason}`;
});

const anthropic = new Anthropic({ baseURL: url, apiKey: "any", maxRetries: 0 });

await check("anthropic: messages.create", async () => {
  const message = await anthropic.messages.create({ model, messages, max_tokens: 60 });
  return message.content[0].text;
});

await check("anthropic: messages.stream", async () => {
  const message = await anthropic.messages.stream({ model, messages, max_tokens: 60 }).finalMessage();
  return message.content[0].text;
});

await check("anthropic: messages.stream, cut off", async () => {
  const message = await anthropic.messages.stream({ model, messages, max_tokens: 2 }).finalMessage();
  return message.stop_reason;
});

const aiOpenAI = createOpenAI({ baseURL: `${url}/v1`, apiKey: "any" });
const aiAnthropic = createAnthropic({ baseURL: `${url}/v1`, apiKey: "any" });
const surfaces = { responses: aiOpenAI(model), chat: aiOpenAI.chat(model), messages: aiAnthropic(model) };

const city = jsonSchema({
  type: "object",
  properties: { city: { type: "string", enum: ["Zürich"] } },
  required: ["city"],
  additionalProperties: false,
});

for (const [surface, languageModel] of Object.entries(surfaces)) {
  const common = { model: languageModel, maxRetries: 0, maxOutputTokens: 120 };

  await check(`ai: streamText, ${surface}`, async () => {
    let failure;
    const result = streamText({ ...common, prompt: text, onError: ({ error }) => (failure = error) });
    let streamed = "";
    for await (const piece of result.textStream) streamed += piece;
    if (failure) throw failure;
    return streamed;
  });

  await check(`ai: generateText, ${surface}`, async () => (await generateText({ ...common, prompt: text })).text);

  await check(`ai: generateObject, ${surface}`, async () => {
    const result = await generateObject({ ...common, prompt: "Name a city, as JSON.", schema: city });
    return result.object.city;
  });

  await check(`ai: a tool and its result, ${surface}`, async () => {
    const get_city = tool({ description: "The city.", inputSchema: city, execute: async () => "It is called." });
    const result = await generateText({
      ...common,
      prompt: "Use get_city.",
      tools: { get_city },
      stopWhen: stepCountIs(2),
    });
    return `${result.steps.length} steps, ${result.steps[0].toolCalls.length} call`;
  });
}
