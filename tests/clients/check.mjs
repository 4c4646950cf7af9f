// The official JavaScript clients of Ollama and OpenAI, through the gate at GATE_URL with the key GATE_KEY.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Ollama } from "ollama";
import OpenAI from "openai";

const { GATE_URL: url, GATE_KEY: key } = process.env;
const model = "stand-in";
const messages = [{ role: "user", content: "why is the sky blue?" }];
const answered = 'You said: "why is the sky blue?".';
// The stand-in says 50 words a second and more than 50 in all; an answer held back comes in far less.
const spreadMillisecondsMin = 500;
const wrongKeys = ["wrong", key.slice(0, -1), `${key}x`, "*"];

const ollama = (apiKey = key) => new Ollama({ host: url, headers: { Authorization: `Bearer ${apiKey}` } });
const openai = (apiKey = key) => new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 });

/** Reads a stream to its end: its parts, and the time from the first to the last. */
async function read(stream) {
  const parts = [];
  let first;
  for await (const part of stream) {
    first ??= performance.now();
    parts.push(part);
  }
  return { parts, spread: performance.now() - first };
}

test("ollama: chat streams", async () => {
  const { parts, spread } = await read(await ollama().chat({ model, messages, stream: true }));
  const text = parts.map((part) => part.message.content).join("");
  assert.ok(text.includes(answered), text);
  assert.equal(parts.at(-1).done, true);
  assert.ok(spread > spreadMillisecondsMin, `the words came within ${spread} ms`);
});

test("ollama: generate, list and embed", async () => {
  const client = ollama();
  const answer = await client.generate({ model, prompt: "why?", options: { num_predict: 5 } });
  assert.equal(answer.response, "Hello! I am a stand-in");
  assert.deepEqual((await client.list()).models.map((listed) => listed.name), ["stand-in:latest"]);
  assert.equal((await client.embed({ model, input: ["one", "two"] })).embeddings.length, 2);
});

test("ollama: leaving a stream harms nothing", async () => {
  const client = ollama();
  const stream = await client.chat({ model, messages, stream: true });
  await assert.rejects(async () => {
    for await (const _ of stream) stream.abort();
  }, { name: "AbortError" });
  assert.equal((await client.list()).models.length, 1);
});

test("ollama: a wrong key is the client's own error", async () => {
  for (const wrong of wrongKeys) {
    for (const stream of [false, true]) {
      await assert.rejects(ollama(wrong).chat({ model, messages, stream }), (error) => {
        assert.equal(error.name, "ResponseError");
        assert.equal(error.status_code, 401);
        return true;
      });
    }
  }
});

test("openai: chat streams", async () => {
  const { parts, spread } = await read(await openai().chat.completions.create({ model, messages, stream: true }));
  const text = parts.map((part) => part.choices[0]?.delta?.content ?? "").join("");
  assert.ok(text.includes(answered), text);
  assert.ok(spread > spreadMillisecondsMin, `the words came within ${spread} ms`);
});

test("openai: chat at once, models and embeddings", async () => {
  const client = openai();
  const answer = await client.chat.completions.create({ model, messages, max_tokens: 3 });
  assert.equal(answer.choices[0].message.content, "Hello! I am");
  assert.deepEqual((await client.models.list()).data.map((listed) => listed.id), ["stand-in:latest"]);
  assert.equal((await client.embeddings.create({ model, input: ["one", "two"] })).data.length, 2);
});

test("openai: many at once", async () => {
  const client = openai();
  const one = async () => (await read(await client.chat.completions.create({ model, messages, stream: true }))).parts;
  for (const parts of await Promise.all(Array.from({ length: 20 }, one))) {
    assert.ok(parts.map((part) => part.choices[0]?.delta?.content ?? "").join("").includes(answered));
  }
});

test("openai: leaving a stream harms nothing", async () => {
  const client = openai();
  const stream = await client.chat.completions.create({ model, messages, stream: true });
  for await (const _ of stream) {
    stream.controller.abort();
    break;
  }
  assert.equal((await client.models.list()).data.length, 1);
});

test("openai: a wrong key is the client's own error", async () => {
  for (const wrong of wrongKeys) {
    for (const stream of [false, true]) {
      await assert.rejects(openai(wrong).chat.completions.create({ model, messages, stream }), (error) => {
        assert.ok(error instanceof OpenAI.AuthenticationError, error);
        assert.equal(error.status, 401);
        return true;
      });
    }
  }
});
