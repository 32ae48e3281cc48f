"""The loopback server of teacher_server.py with a real model behind it, which returns log-probabilities."""

import threading

import torch
from teacher_server import Teacher, completion

from tlrec.model.base_model import load_base_model


class ScoringServer(Teacher):
    """Completions and chat completions of one token by the model in `folder`, in the form of each endpoint."""

    def __init__(self, folder, **settings):
        super().__init__(**settings)
        self.model, self.tokenizer = load_base_model(folder, False, "float32", "cpu")
        self.model.eval()
        self._one_at_a_time = threading.Lock()

    def reply_to(self, request: dict) -> dict:
        chat = "messages" in request
        if chat:
            ids = self.tokenizer.apply_chat_template(request["messages"], add_generation_prompt=True,
                                                     return_dict=False)
        else:
            ids = self.tokenizer(request["prompt"], split_special_tokens=True)["input_ids"]
        with self._one_at_a_time, torch.inference_mode():
            values, tokens = self.model(torch.tensor([ids])).logits[0, -1].log_softmax(-1).topk(20)
        texts = [self.tokenizer.decode([token]) for token in tokens.tolist()]
        count = int(request.get("top_logprobs") or request.get("logprobs") or 0)
        pairs = list(zip(texts, values.tolist(), strict=True))
        usage = {"prompt_tokens": len(ids), "completion_tokens": 1}
        if chat:
            reply = completion(texts[0], "length") | {"usage": usage}
            entries = [{"token": token, "logprob": value, "bytes": None} for token, value in pairs[:count]]
            reply["choices"][0]["logprobs"] = {"content": [entries[0] | {"top_logprobs": entries}]} if count else None
            return reply
        logprobs = {"tokens": texts[:1], "token_logprobs": values.tolist()[:1], "text_offset": [0],
                    "top_logprobs": [dict(pairs[:count])]}
        return {"model": "served-1", "usage": usage, "choices": [
            {"index": 0, "text": texts[0], "finish_reason": "length", "logprobs": logprobs if count else None}]}


def answering_model(folder, tiny_llama, chat_template: str):
    """tiny_llama with a chat template, and Yes and No (with and without a space) among its most probable tokens."""
    from transformers import AutoTokenizer, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    model = LlamaForCausalLM.from_pretrained(tiny_llama)
    tokenizer.chat_template = chat_template
    (newline,) = tokenizer("\n")["input_ids"]  # every prompt's last token
    with torch.no_grad():
        model.model.embed_tokens.weight[newline] *= 8  # so that the hidden states after it are alike
        hidden = model.model(torch.tensor([tokenizer("Response:\n")["input_ids"]])).last_hidden_state[0, -1]
        for word, length in {"Yes": 4.0, "No": 3.9, " Yes": 3.8}.items():
            (token,) = tokenizer(word)["input_ids"]
            model.lm_head.weight[token] += length * hidden / hidden.norm()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
