// What OpenAI's and Anthropic's clients for Node and the AI SDK make of a running server.
//
//     node judge.mjs http://127.0.0.1:8000 MODEL CASES
//
// CASES is JSON: what they are to ask, see tests/clients/table/test_node.py. Each line of the output is what came of
// one check, as JSON: {"name": "client|surface|case", "value": …}, or "error" and "status" in place of the value.

import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import Anthropic from "@anthropic-ai/sdk";
import { generateObject, generateText, jsonSchema, stepCountIs, streamObject, streamText, tool } from "ai";
import OpenAI from "openai";

globalThis.AI_SDK_LOG_WARNINGS = false;

const [url, model, cases] = process.argv.slice(2);
const { question, wantsCity, wantsWeather, weather, brief, limit, citySchema, toolParameters } = JSON.parse(cases);
const description = "The weather in a city.";
const asked = (content) => [{ role: "user", content }];

async function check(name, run) {
  let result;
  try {
    result = { name, value: await run() };
  } catch (error) {
    const status = error.status ?? error.statusCode ?? null;
    result = { name, status, error: `${error.name}: ${error.message}`.slice(0, 1000) };
  }
  console.log(JSON.stringify(result));
}

// OpenAI's client

const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: "any", maxRetries: 0 });

{
  const common = { model, max_tokens: limit };
  const tools = [{ type: "function", function: { name: "get_weather", description, parameters: toolParameters } }];
  const json_schema = { name: "city", schema: citySchema, strict: true };
  const place = "openai (Node)|chat";

  await check(`${place}|whole`, async () => {
    const answer = await openai.chat.completions.create({ ...common, messages: asked(question), max_tokens: brief });
    return answer.choices[0].message.content;
  });

  await check(`${place}|streamed`, async () => {
    let text = "";
    const stream = await openai.chat.completions.create({ ...common, messages: asked(question), max_tokens: brief, stream: true });
    for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
    return text;
  });

  await check(`${place}|stream helper`, () =>
    openai.chat.completions.stream({ ...common, messages: asked(question), max_tokens: brief }).finalContent(),
  );

  await check(`${place}|structured output`, async () => {
    const response_format = { type: "json_schema", json_schema };
    const answer = await openai.chat.completions.create({ ...common, messages: asked(wantsCity), response_format });
    return JSON.parse(answer.choices[0].message.content);
  });

  for (const streamed of [false, true]) {
    await check(`${place}|tools${streamed ? " streamed" : ""}`, async () => {
      const messages = asked(wantsWeather);
      const forced = { ...common, messages, tools, tool_choice: "required" };
      const first = streamed
        ? await openai.chat.completions.stream(forced).finalChatCompletion()
        : await openai.chat.completions.create(forced);
      const { role, content, tool_calls } = first.choices[0].message;
      messages.push({ role, content, tool_calls });
      messages.push({ role: "tool", tool_call_id: tool_calls[0].id, content: weather });
      const second = await openai.chat.completions.create({ ...common, messages, tools, tool_choice: "none" });
      return { input: JSON.parse(tool_calls[0].function.arguments), text: second.choices[0].message.content };
    });
  }
}

{
  const common = { model, max_output_tokens: limit };
  const tools = [{ type: "function", name: "get_weather", description, parameters: toolParameters, strict: true }];
  const place = "openai (Node)|Responses";

  await check(`${place}|whole`, async () => {
    const response = await openai.responses.create({ ...common, input: question, max_output_tokens: brief });
    return response.output.find((item) => item.type === "message").content[0].text;
  });

  await check(`${place}|streamed`, async () => {
    let text = "";
    for await (const event of await openai.responses.create({ ...common, input: question, max_output_tokens: brief, stream: true }))
      if (event.type === "response.output_text.delta") text += event.delta;
    return text;
  });

  await check(`${place}|stream helper`, async () => {
    const response = await openai.responses.stream({ ...common, input: question, max_output_tokens: brief }).finalResponse();
    return response.output_text;
  });

  await check(`${place}|cut off`, async () => {
    const cut = { ...common, input: question, max_output_tokens: 2 };
    const response = await openai.responses.stream(cut).finalResponse();
    return `${response.status}: ${response.incomplete_details.reason}`;
  });

  await check(`${place}|structured output`, async () => {
    const text = { format: { type: "json_schema", name: "city", schema: citySchema, strict: true } };
    const response = await openai.responses.create({ ...common, input: wantsCity, text });
    return JSON.parse(response.output_text);
  });

  for (const streamed of [false, true]) {
    await check(`${place}|tools${streamed ? " streamed" : ""}`, async () => {
      const forced = { ...common, input: wantsWeather, tools, tool_choice: "required" };
      const first = streamed
        ? await openai.responses.stream(forced).finalResponse()
        : await openai.responses.create(forced);
      const call = first.output.find((item) => item.type === "function_call");
      const output = { type: "function_call_output", call_id: call.call_id, output: weather };
      const next = { ...common, input: [output], previous_response_id: first.id, tools, tool_choice: "none" };
      const second = await openai.responses.create(next);
      return { input: JSON.parse(call.arguments), text: second.output_text };
    });
  }
}

// Anthropic's client

const anthropic = new Anthropic({ baseURL: url, apiKey: "any", maxRetries: 0 });

{
  const common = { model, max_tokens: limit };
  const tools = [{ name: "get_weather", description, input_schema: toolParameters }];
  const place = "anthropic (Node)|Messages";

  await check(`${place}|whole`, async () => {
    const message = await anthropic.messages.create({ ...common, messages: asked(question), max_tokens: brief });
    return message.content[0].text;
  });

  await check(`${place}|stream helper`, async () => {
    const message = await anthropic.messages.stream({ ...common, messages: asked(question), max_tokens: brief }).finalMessage();
    return message.content[0].text;
  });

  await check(`${place}|cut off`, async () => {
    const cut = { ...common, messages: asked(question), max_tokens: 2 };
    const message = await anthropic.messages.stream(cut).finalMessage();
    return message.stop_reason;
  });

  await check(`${place}|structured output`, async () => {
    const output_config = { format: { type: "json_schema", schema: citySchema } };
    const message = await anthropic.messages.create({ ...common, messages: asked(wantsCity), output_config });
    return JSON.parse(message.content[0].text);
  });

  for (const streamed of [false, true]) {
    await check(`${place}|tools${streamed ? " streamed" : ""}`, async () => {
      const messages = asked(wantsWeather);
      const forced = { ...common, messages, tools, tool_choice: { type: "any" } };
      const first = streamed
        ? await anthropic.messages.stream(forced).finalMessage()
        : await anthropic.messages.create(forced);
      const use = first.content.find((block) => block.type === "tool_use");
      messages.push({ role: "assistant", content: first.content });
      messages.push({ role: "user", content: [{ type: "tool_result", tool_use_id: use.id, content: weather }] });
      const second = await anthropic.messages.create({ ...common, messages, tools, tool_choice: { type: "none" } });
      return { input: use.input, text: second.content[0].text };
    });
  }
}

// The AI SDK. `openai(model)` is its default, the Responses API.

const aiOpenAI = createOpenAI({ baseURL: `${url}/v1`, apiKey: "any" });
const aiAnthropic = createAnthropic({ baseURL: `${url}/v1`, apiKey: "any" });
const surfaces = { Responses: aiOpenAI(model), chat: aiOpenAI.chat(model), Messages: aiAnthropic(model) };

async function streamedText(options) {
  let failure;
  const result = streamText({ ...options, onError: ({ error }) => (failure = error) });
  let text = "";
  for await (const piece of result.textStream) text += piece;
  if (failure) throw failure;
  return { text, steps: await result.steps };
}

for (const [surface, languageModel] of Object.entries(surfaces)) {
  const common = { model: languageModel, maxRetries: 0, maxOutputTokens: limit };
  const place = `AI SDK|${surface}`;
  const schema = jsonSchema(citySchema);

  await check(`${place}|generateText`, async () => (await generateText({ ...common, prompt: question, maxOutputTokens: brief })).text);

  await check(`${place}|streamText`, async () => (await streamedText({ ...common, prompt: question, maxOutputTokens: brief })).text);

  await check(`${place}|generateObject`, async () => {
    return (await generateObject({ ...common, prompt: wantsCity, schema })).object;
  });

  await check(`${place}|streamObject`, async () => {
    let failure;
    const result = streamObject({ ...common, prompt: wantsCity, schema, onError: ({ error }) => (failure = error) });
    let last;
    for await (const part of result.partialObjectStream) last = part;
    if (failure) throw failure;
    return last;
  });

  for (const streamed of [false, true]) {
    await check(`${place}|tools${streamed ? " streamed" : ""}`, async () => {
      const inputSchema = jsonSchema(toolParameters);
      const get_weather = tool({ description, inputSchema, execute: async () => weather });
      const loop = {
        ...common,
        prompt: wantsWeather,
        tools: { get_weather },
        stopWhen: stepCountIs(2),
        prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? "required" : "none" }),
      };
      const result = streamed ? await streamedText(loop) : await generateText(loop);
      return { input: result.steps[0].toolCalls[0].input, text: result.steps.at(-1).text };
    });
  }
}
