"""Tokenizers in the style of LLaMA-3, Qwen, LLaMA-2/Mistral, and one that joins newlines, made here."""

from conftest import make_rows
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from tlrec.data.samples import Sample
from tlrec.model import prompts

ROWS = [Sample(**sample) for sample in make_rows(12, 5)[0]]
GPT4_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
              r"\s+(?!\S)|\s+")
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}{{ '<think>\n\n</think>"
    "\n\n' }}{% endif %}{{ m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def byte_level(special: list[str], bos: str = "", **names) -> PreTrainedTokenizerFast:
    """A byte-level BPE with LLaMA-3's and Qwen's way of splitting, trained on prompts."""
    words = Tokenizer(BPE())
    words.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(GPT4_SPLIT), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)])
    words.decoder = decoders.ByteLevel()
    texts = [prompts.format_prompt(row) + row.output for row in ROWS]
    words.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=900, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False))
    if bos:
        words.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, words.token_to_id(bos))])
    return PreTrainedTokenizerFast(tokenizer_object=words, clean_up_tokenization_spaces=False, **names)


def by_hand(merges: list[tuple[str, str]], sentencepiece: bool = False) -> PreTrainedTokenizerFast:
    """A BPE over characters with these merges; as LLaMA-2's with a space put first, and newlines as bytes."""
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2}
    letters = [chr(code) for code in range(33, 127)]
    letters += [f"<0x{byte:02X}>" for byte in range(256)] + ["▁"] if sentencepiece else ["\n", " "]
    for token in [*letters, *("".join(pair) for pair in merges)]:
        vocabulary.setdefault(token, len(vocabulary))
    words = Tokenizer(BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=sentencepiece, fuse_unk=True))
    words.decoder = decoders.Fuse()
    if sentencepiece:
        words.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        words.decoder = decoders.Sequence([
            decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
        words.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", bos_token="<s>", eos_token="</s>",
                                   clean_up_tokenization_spaces=False)


ANSWERS = [("Y", "e"), ("Ye", "s"), ("N", "o")]
# the text before a first title "a" is one token with it, and one token per character before another title
BEFORE_A = [(character, f'{"User Preference: "[number + 1 :]}"a"') for number, character in
            reversed(list(enumerate("User Preference: ")))]
KINDS = {
    "llama-3": lambda: byte_level(["<|begin_of_text|>", "<|eot_id|>"], bos="<|begin_of_text|>",
                                  bos_token="<|begin_of_text|>", eos_token="<|eot_id|>"),
    "qwen": lambda: byte_level(["<|endoftext|>", "<|im_start|>", "<|im_end|>"], eos_token="<|im_end|>",
                               pad_token="<|endoftext|>", chat_template=CHATML),
    "mistral": lambda: by_hand([*ANSWERS, ("▁", "Yes"), ("▁", "No")], sentencepiece=True),
    "newline joins both answers": lambda: by_hand([*ANSWERS, ("\n", "Yes"), ("\n", "No"), (":", "\n")]),
    "a title joins the text before it": lambda: by_hand([*ANSWERS, ("a", '"'), ('"', 'a"'), *BEFORE_A]),
}
