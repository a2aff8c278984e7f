"""Draw a t-SNE plot of the embeddings of a set."""

from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.cli import OptionParser, boolean, positive_int
from lid_toolkit.commands.recipe.options import iterations, perplexity
from lid_toolkit.evaluation.tsne import plot_tsne


def main(arguments: Sequence[str]) -> None:
    """Parse the options and draw the plot."""
    options = make_parser().parse_args(arguments)
    plot_tsne(
        options.data_dir,
        options.inference_dir,
        options.perplexity,
        options.max_iter,
        options.max_utt_per_lang_for_tsne,
        options.dry_run,
    )
    if options.espnet_files:
        from lid_toolkit.evaluation.means_map import plot_means  # imports matplotlib

        plot_means(options.inference_dir, options.perplexity, options.max_iter, options.dry_run)


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser(__doc__)
    parser.add_argument("--data_dir", type=Path, required=True, help="reference labels: dump/raw/SET")
    parser.add_argument(
        "--inference_dir", type=Path, required=True, help="directory with the embeddings: .../MODEL/SET"
    )
    parser.add_argument("--perplexity", type=perplexity, default=5.0, help="t-SNE perplexity, at least 1")
    parser.add_argument(
        "--max_iter", type=iterations, default=1000, help="number of t-SNE iterations, at least 250"
    )
    parser.add_argument(
        "--max_utt_per_lang_for_tsne",
        type=positive_int,
        default=1000,
        help="maximum number of utterances per language",
    )
    parser.add_argument(
        "--dry_run", type=boolean, default=False, help="only report whether there is work to do"
    )
    parser.add_argument(
        "--espnet_files",
        type=boolean,
        default=False,
        help="also draw the means of the languages alone, as ESPnet's recipe does",
    )
    return parser
