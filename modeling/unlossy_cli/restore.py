"""`unlossy restore`: plan, share out, restore, sum up."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

from unlossy_cli.entry import warn
from unlossy_cli.planning import STANDARD, Job, Outcome, call, choose_format, is_taken, plan_jobs
from unlossy_cli.progress import BAR
from unlossy_cli.quiet import silence_libraries
from unlossy_cli.sharing import Share
from unlossy_cli.work import Settings, find_problem
from unlossy_cli.workers import count_workers, restore_files


def run(arguments: argparse.Namespace) -> int:
    """Restore the files and folders that the arguments name, and return the exit code."""
    silence_libraries()
    audio_format = choose_format(arguments.inputs, arguments.output, arguments.format, arguments.bit_depth)
    jobs, errors, warnings = plan_jobs(arguments.inputs, arguments.output, audio_format)
    asked = len(jobs) + len(errors)
    share = Share.from_environment()
    settings = Settings(
        model=arguments.model,
        device=arguments.device,
        backend=arguments.backend,
        detail=arguments.detail,
        format=audio_format,
        bit_depth=arguments.bit_depth or "24",
        overwrite=arguments.overwrite,
        strict=arguments.strict,
        partial=arguments.partial,
        track=arguments.track,
        local_rank=share.local_rank,
    )
    share.meet()
    if share.rank == 0:
        warn(warnings)
    places = {job: place for place, job in enumerate(jobs)}
    outcomes = share.gather(_restore(share.of(jobs), settings, share))
    outcomes.sort(key=lambda outcome: places[outcome.job])
    speaks = share.rank == 0 or not share.can_gather  # otherwise the first process speaks for all
    skipped = [outcome.job for outcome in outcomes if outcome.skipped]
    if skipped and asked == 1:
        errors.append(f"{skipped[0].output}: exists already; add --overwrite to replace it")
    elif skipped and speaks:
        warn([f"{len(skipped)} of {asked} results exist already and stay as they are; add --overwrite to replace them"])
    errors += [outcome.error for outcome in outcomes if outcome.error is not None]
    if not errors:
        return 0
    fatal = next((outcome.error for outcome in outcomes if outcome.fatal), None)
    is_single = fatal is not None or asked == 1
    if speaks:
        if is_single:
            print(f"unlossy: {fatal or errors[0]}", file=sys.stderr)
        else:
            print("\n  ".join([f"unlossy: {len(errors)} of {asked} files failed:", *errors]), file=sys.stderr)
    return 2 if is_single else 1


def _restore(jobs: Sequence[Job], settings: Settings, share: Share) -> list[Outcome]:
    """Restore this process's share of the files, with a progress bar."""
    from tqdm import tqdm

    problems = {job: find_problem(job) for job in jobs}
    outcomes = [Outcome(job, problem) for job, problem in problems.items() if problem is not None]
    jobs = [job for job, problem in problems.items() if problem is None]
    # A run that was ended goes on where it was; no file that is there is half-written.
    taken = {job for job in jobs if job.output != STANDARD and is_taken(job.output, settings.overwrite)}
    outcomes += [Outcome(job, skipped=True) for job in taken]
    jobs = [job for job in jobs if job not in taken]
    workers = 1
    if (len(jobs) > 1 or share.world_size > 1) and _runs_on_cpu(settings):
        workers, threads = count_workers(len(jobs), share.local_world_size)
        settings = replace(settings, threads=threads)
    done: dict[Job, float] = {}
    is_shown = sys.stderr.isatty() and share.rank == 0 and bool(jobs)
    with tqdm(total=len(jobs), bar_format=BAR, miniters=0, disable=not is_shown) as bar:

        def report(job: Job, fraction: float) -> None:
            if job not in done:
                bar.set_description_str(job.input.name, refresh=False)
            bar.update(fraction - done.get(job, 0.0))
            done[job] = fraction

        for outcome in restore_files(jobs, settings, workers, report):
            outcomes.append(outcome)
            if outcome.fatal:
                break
            report(outcome.job, 1.0)
            if outcome.error is None:
                with tqdm.external_write_mode(sys.stderr):
                    warn(outcome.warnings)
                if outcome.job.output != STANDARD:
                    tqdm.write(f"{call(outcome.job.input)} -> {outcome.job.output}", file=sys.stdout)
    return outcomes


def _runs_on_cpu(settings: Settings) -> bool:
    if settings.device != "auto" or settings.backend == "onnx":
        return settings.device in ("auto", "cpu")
    from unlossy.hub.loading_unlossy import has_gpu

    return not has_gpu()
