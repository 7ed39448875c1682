"""`medprotect bench`: our protection beside others, on public data sets; and our speed."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from medprotect.cli.ending import ending

app = typer.Typer(
    no_args_is_help=True,
    help="Compare protections on public data sets; measure speed.",
)

LIBRARIES = ("numpy", "torch", "monai.networks.nets.resnet")

Dataset = Annotated[str, typer.Option(help="Name of a data set: bloodmnist, busi ...")]
Images = Annotated[
    Path, typer.Option(help="Its images: a MedMNIST file, or a folder with a folder per class.")
]
Out = Annotated[Path, typer.Option(help="Folder for the results; finished ones are kept.")]
Protections = Annotated[str, typer.Option(help="Protections to compare, separated by commas.")]
Pipeline = Annotated[
    str, typer.Option(help="Our pipeline: a name, a folder, or auto for a shipped one.")
]
Victims = Annotated[
    str, typer.Option(help="Models to train; countermeasures are tried on the first.")
]
Countermeasures = Annotated[
    str, typer.Option(help="Countermeasures to try besides plain training.")
]
Ks = Annotated[
    str,
    typer.Option("--k", help="Clean images of each class that attackers have besides, e.g. 10,50."),
]
Seeds = Annotated[str, typer.Option(help="Every training is done with each seed.")]
Steps = Annotated[int, typer.Option(min=1, help="Steps of each training.")]
Train = Annotated[
    int | None, typer.Option(min=2, help="Most images to train on. Default: all of half B.")
]
Test = Annotated[
    int | None, typer.Option(min=2, help="Most images to validate on, and most to test on.")
]
Strength = Annotated[
    str, typer.Option(metavar="low|standard|high", help="The budget of all protections.")
]
Budget = Annotated[
    int | None,
    typer.Option(min=1, help="Budget of all but ours, of 255. Default: that of --strength."),
]
Size = Annotated[int, typer.Option(min=8, max=224, help="Most pixels of the long side.")]


@app.command()
def protection(
    dataset: Dataset,
    images: Images,
    out: Out,
    protections: Protections = "ours,ours-labels,class-wise,em,tap,lsp,ar,gratings,control",
    pipeline: Pipeline = "auto",
    victims: Victims = "resnet18",
    countermeasures: Countermeasures = "grey,jpeg-10,blur-1,posterise-2",
    k: Ks = "",
    seeds: Seeds = "1,2,3",
    steps: Steps = 600,
    train: Train = None,
    test: Test = None,
    strength: Strength = "standard",
    budget: Budget = None,
    size: Size = 64,
) -> None:
    """Train models on clean images and on those of each protection; each training writes a file.

    The same command continues after a stop. Nothing is downloaded.
    """
    given = dict(locals())
    with ending():
        from medprotect.cli.progress_view import WorkView

        with WorkView() as view:
            view.load(LIBRARIES)
            from medprotect.audit.attack.victims import VICTIMS
            from medprotect.bench.options import take_names, take_numbers
            from medprotect.bench.protection.data import read_bench_data
            from medprotect.bench.protection.protection import PROTECTIONS, find_protection
            from medprotect.bench.protection.run import TRIED, list_attacks, run_bench
            from medprotect.intensity.budget import STRENGTHS

            (chosen,) = take_names(strength, STRENGTHS, "strength")
            names = take_names(protections, PROTECTIONS, "protections")
            attacks = list_attacks(
                take_names(victims, VICTIMS, "victims"),
                take_names(countermeasures, TRIED, "countermeasures") if countermeasures else (),
                take_numbers(seeds, "seeds"),
                steps,
                take_numbers(k, "k") if k else (),
            )
            view("reading images", 0, 1, {})
            data = read_bench_data(
                dataset, images, size=size, strength=chosen, train=train, test=test
            )
            compared = [
                find_protection(name, chosen, pipeline, data, budget_lsb=budget) for name in names
            ]
            command = _write_command(given)
            tally = run_bench(
                data, compared, attacks, out, command=command, say=view.say, progress=view
            )
        print(
            f"{tally.made} runs made, {tally.kept} were there: "
            f"medprotect bench table {out} --out PAGE.md"
        )


@app.command()
def table(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs, or their files.")],
    out: Annotated[
        Path,
        typer.Option(
            help="Where to write the page; figures and CSV go in the folder beside it of its name."
        ),
    ],
) -> None:
    """Write runs as one page in Markdown, such as docs/benchmarks.md, with figures and CSV."""
    with ending():
        from medprotect.bench.protection.record import read_runs
        from medprotect.bench.protection.table import write_page
        from medprotect.protect.atomic import write_whole

        folder = out.with_suffix("")
        page = write_page(read_runs(runs), folder.name)
        for name, text in page.files.items():
            write_whole(folder / name, text.encode())
        write_whole(out, page.markdown.encode())


@app.command()
def speed(
    images: Annotated[
        Path | None,
        typer.Argument(help="A folder of CT slices. Default: shifted copies of one from pydicom."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the report here, in JSON.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw files per second here, in SVG.")] = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="Folder to work in, on the disk to measure; emptied afterwards."),
    ] = None,
    slices: Annotated[int, typer.Option(min=8, help="Images in each run.")] = 100,
    planned: Annotated[int, typer.Option(min=1, help="Files in each plan.")] = 2000,
    repeats: Annotated[int, typer.Option(min=1, help="How often each is measured.")] = 5,
    many: Annotated[
        int,
        typer.Option(min=1000, help="Tiny files in the largest run: 10,000 take some minutes."),
    ] = 1000,
) -> None:
    """Measure how fast protection, planning and the commands are, compared with plain work.

    Ratios are comparable between machines, also busy ones; seconds are not.
    """
    with ending():
        print("loading", file=sys.stderr, flush=True)
        from medprotect.bench.options import say
        from medprotect.bench.speed.chart import draw_throughput
        from medprotect.bench.speed.speed import Amount, measure_speed, write_table
        from medprotect.protect.atomic import write_whole

        report = measure_speed(images, folder, Amount(slices, planned, repeats, many), say)
        if out is not None:
            write_whole(out, (json.dumps(report, indent=2) + "\n").encode())
        if figure is not None:
            write_whole(figure, draw_throughput(report).encode())
        print(write_table(report), end="")


@app.command()
def profile(
    images: Annotated[
        Path | None,
        typer.Argument(help="A folder of CT slices. Default: shifted copies of one from pydicom."),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="Folder to work in, on the disk to measure; emptied afterwards."),
    ] = None,
    slices: Annotated[int, typer.Option(min=1, help="Slices to protect.")] = 40,
    syntax: Annotated[
        str | None,
        typer.Option(help="UID of a transfer syntax to compress them in. Default: uncompressed."),
    ] = None,
) -> None:
    """Show how long each step of one slice takes, with a null network and a real one."""
    with ending():
        print("loading", file=sys.stderr, flush=True)
        from medprotect.bench.options import take_names
        from medprotect.bench.speed.codec import SYNTAXES
        from medprotect.bench.speed.profile import profile_slice, write_profile

        if syntax is not None:
            take_names(syntax, SYNTAXES, "syntax")
        print(write_profile(profile_slice(images, folder, slices, syntax)), end="")


def _write_command(given: dict[str, object]) -> str:
    """Write the command that was given in full, but no place: of paths, the last part alone."""
    words = ["medprotect", "bench", "protection"]
    for name, value in given.items():
        if value is not None:
            last = Path(str(value)).name if name in ("images", "out", "pipeline") else str(value)
            words += [f"--{name}", last]
    return shlex.join(words)
