"""The official Python clients of Ollama and OpenAI, through the gate at GATE_URL with the key GATE_KEY."""

import asyncio
import os
import time
import unittest

import ollama
import openai

URL = os.environ["GATE_URL"]
KEY = os.environ["GATE_KEY"]
QUESTION = [{"role": "user", "content": "why is the sky blue?"}]
ANSWERED = 'You said: "why is the sky blue?".'
# The stand-in says 50 words a second and more than 50 in all; an answer held back comes in far less.
SPREAD_SECONDS_MIN = 0.5


def ollama_client(key=KEY, kind=ollama.Client):
    return kind(host=URL, headers={"Authorization": f"Bearer {key}"})


def openai_client(key=KEY):
    return openai.OpenAI(base_url=f"{URL}/v1", api_key=key, max_retries=0)


class Ollama(unittest.TestCase):
    def test_chat_streams(self):
        times, text = [], ""
        for part in ollama_client().chat(model="stand-in", messages=QUESTION, stream=True):
            times.append(time.monotonic())
            text += part.message.content
        self.assertIn(ANSWERED, text)
        self.assertTrue(part.done)
        self.assertEqual(part.eval_count, len(times) - 1)
        self.assertGreater(times[-1] - times[0], SPREAD_SECONDS_MIN, "the words came all at once")

    def test_generate_at_once(self):
        answer = ollama_client().generate(model="stand-in", prompt="why?", options={"num_predict": 5})
        self.assertEqual(answer.response, "Hello! I am a stand-in")
        self.assertEqual(answer.done_reason, "length")

    def test_list_show_and_embed(self):
        client = ollama_client()
        self.assertEqual([model.model for model in client.list().models], ["stand-in:latest"])
        self.assertIn("completion", client.show("stand-in").capabilities)
        vectors = client.embed(model="stand-in", input=["one", "two"]).embeddings
        self.assertEqual(len(vectors), 2)

    def test_leaving_a_stream_harms_nothing(self):
        client = ollama_client()
        stream = client.chat(model="stand-in", messages=QUESTION, stream=True)
        next(stream)
        stream.close()
        self.assertEqual(len(client.list().models), 1)

    def test_many_at_once(self):
        async def one(client):
            stream = await client.chat(model="stand-in", messages=QUESTION, stream=True)
            return "".join([part.message.content async for part in stream])

        async def all_of_them():
            client = ollama_client(kind=ollama.AsyncClient)
            return await asyncio.gather(*(one(client) for _ in range(20)))

        for text in asyncio.run(all_of_them()):
            self.assertIn(ANSWERED, text)

    def test_a_wrong_key_is_the_clients_own_error(self):
        for key in ("wrong", KEY[:-1], KEY + "x", "*"):
            for stream in (False, True):
                with self.subTest(key=key, stream=stream), self.assertRaises(ollama.ResponseError) as caught:
                    answer = ollama_client(key).chat(model="stand-in", messages=QUESTION, stream=stream)
                    list(answer)
                self.assertEqual(caught.exception.status_code, 401)
                self.assertIn("Unauthorized", str(caught.exception))


    def test_no_key_is_the_clients_own_error(self):
        with self.assertRaises(ollama.ResponseError) as caught:
            ollama.Client(host=URL).list()
        self.assertEqual(caught.exception.status_code, 401)


class OpenAI(unittest.TestCase):
    def test_chat_streams(self):
        times, text, usage = [], "", None
        stream = openai_client().chat.completions.create(
            model="stand-in", messages=QUESTION, stream=True, stream_options={"include_usage": True})
        for chunk in stream:
            times.append(time.monotonic())
            usage = chunk.usage
            text += "".join(choice.delta.content or "" for choice in chunk.choices)
        self.assertIn(ANSWERED, text)
        self.assertEqual(usage.completion_tokens, len(text.split()))
        self.assertGreater(times[-1] - times[0], SPREAD_SECONDS_MIN, "the words came all at once")

    def test_chat_at_once(self):
        answer = openai_client().chat.completions.create(model="stand-in", messages=QUESTION, max_tokens=3)
        self.assertEqual(answer.choices[0].message.content, "Hello! I am")
        self.assertEqual(answer.choices[0].finish_reason, "length")

    def test_models_and_embeddings(self):
        client = openai_client()
        self.assertEqual([model.id for model in client.models.list()], ["stand-in:latest"])
        vectors = client.embeddings.create(model="stand-in", input=["one", "two"]).data
        self.assertEqual(len(vectors), 2)

    def test_leaving_a_stream_harms_nothing(self):
        client = openai_client()
        stream = client.chat.completions.create(model="stand-in", messages=QUESTION, stream=True)
        next(iter(stream))
        stream.close()
        self.assertEqual(len(list(client.models.list())), 1)

    def test_a_wrong_key_is_the_clients_own_error(self):
        for key in ("wrong", KEY[:-1], KEY + "x", "*"):
            for stream in (False, True):
                with self.subTest(key=key, stream=stream), self.assertRaises(openai.AuthenticationError) as caught:
                    openai_client(key).chat.completions.create(model="stand-in", messages=QUESTION, stream=stream)
                self.assertEqual(caught.exception.status_code, 401)


if __name__ == "__main__":
    unittest.main()
