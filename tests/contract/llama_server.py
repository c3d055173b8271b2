"""llama.cpp's own HTTP server as a program: `python llama_server.py WEIGHTS MODEL KEY`. It prints its address and ends with its input.

It runs in a process of its own, since it can't be stopped in ours.
"""

import sys

import xllamacpp

# The small model's own template leaves tools out.
TEMPLATE = """\
{%- for tool in tools or [] %}{{ '<|im_start|>system\\n' + (tool | tojson) + '<|im_end|>\\n' }}{% endfor %}
{%- for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + (message.content or '') }}
{%- for call in message.tool_calls or [] %}{{ call.function.name + ' ' + (call.function.arguments | tojson) }}{% endfor %}
{{- '<|im_end|>\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}
"""


def main(weights: str, model: str, key: str) -> None:
    asked = xllamacpp.CommonParams()
    asked.model.path, asked.model_alias, asked.chat_template = weights, {model}, TEMPLATE
    asked.hostnames, asked.api_keys = ["127.0.0.1"], [key]
    asked.n_ctx, asked.n_parallel, asked.cpuparams.n_threads = 4_096, 2, 1
    asked.embedding, asked.pooling_type = True, xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    server = xllamacpp.Server(asked)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
