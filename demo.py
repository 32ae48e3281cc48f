"""Try the recommender in a browser, and see the record: `bash shell/demo.sh` installs what it needs and starts it.

    python demo.py --base_model smollm2-135m
    python demo.py --base_model smollm2-135m --lora_weights MY_ADAPTER,OTHER_ADAPTER --port 8000
"""

from recommend import item_statistics
from tlrec import cli
from tlrec.demo import page, server
from tlrec.demo.config import DemoConfig
from tlrec.evaluation.recommend_config import read_catalogue


def main(config: DemoConfig) -> None:
    """A page on which a user marks titles as liked and disliked and sees P(Yes) of a target, what moved it, a ranked
    list, and the tables and figures of the record."""
    config.check()
    listener = server.listen(config.host, config.port)
    catalogue = read_catalogue(config.dataset)
    page.show(config, listener, catalogue, item_statistics(catalogue))


if __name__ == "__main__":
    cli.run(main)
