"""How runs reach Weights & Biases: the wished mode, the login, and what a refusal means for the user."""

import os
import secrets
import shutil
from collections.abc import Callable
from typing import Any, Literal

from esdseg.config.loading import plain_values
from esdseg.config.training import ESDConfig, TrackingConfig
from esdseg.errors import MissingResourceError
from esdseg.system.files import write_text
from esdseg.training.run_folder import WANDB_ID_NAME, RunFolder

START_SECONDS = 10
"""How long a server has to answer when a run starts."""

FINISH_SECONDS = 20
"""How long what was logged has to arrive when a run ends. An agent of a sweep gives a run 30 s to stop."""

OFFLINE_MODES = ("offline", "dryrun", "disabled")
"""Modes of wandb's own settings in which nothing may leave this machine."""

Mode = Literal["online", "offline"]

NoteListener = Callable[[str], None]
"""Takes a sentence that the user may want to know."""


def choose_mode(config: TrackingConfig) -> Mode | None:
    """Decide whether and how to log.

    Args:
        config: The wish. Where it is ``auto``, wandb's own settings decide, wherever they come from: its
            environment variables, or ``wandb offline`` in this folder or for this user.

    Returns:
        The mode, or ``None`` to log nothing.

    Raises:
        MissingResourceError: ``online`` was asked for without a login.
    """
    if config.wandb == "disabled":
        return None
    if config.wandb == "offline":
        return "offline"
    if config.wandb == "auto":
        wish = wandb_settings().mode
        if wish == "disabled":
            return None
        return "offline" if wish in OFFLINE_MODES or not has_login() else "online"
    if not has_login():
        raise MissingResourceError(
            "--wandb online needs a login to Weights & Biases; run `wandb login` or set WANDB_API_KEY, or "
            "use --wandb offline or --wandb disabled."
        )
    return "online"


def wandb_settings() -> Any:
    """Return wandb's settings as it has resolved them for this process, without starting anything."""
    from wandb.sdk import wandb_setup

    return wandb_setup.singleton().settings


def has_login() -> bool:
    """Say whether wandb finds credentials: in variables, settings or the netrc file. Asks no server."""
    from wandb.errors import AuthenticationError
    from wandb.sdk.lib import wbauth

    try:
        found = wbauth.authenticate_session(
            host=wandb_settings().base_url, source="esdseg", prompt=False, update_session=False
        )
    except AuthenticationError:
        # There is a login, of which the start of the run says what is wrong with it.
        return True
    return found is not None


def refusal_of(error: Exception, config: TrackingConfig) -> str:
    """Say why Weights & Biases is not to be had, in one sentence with the remedy.

    Args:
        error: What wandb raised.
        config: Where the runs were to go.
    """
    from wandb.errors import AuthenticationError

    said = next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
    server = wandb_settings().base_url
    words = said.lower()
    if any(word in words for word in ("timed out", "timeout", "deadline", "in time", "connect")):
        return (
            f"Weights & Biases at {server} gives no answer within {START_SECONDS} s ({said}): look after the "
            "network, or after WANDB_BASE_URL where it is set"
        )
    if isinstance(error, AuthenticationError) or "logged in" in words or "api key" in words or "401" in words:
        return (
            f"Weights & Biases at {server} refuses the login ({said}): run `wandb login --relogin`; where "
            "WANDB_API_KEY is set, it wins over that, so set it right or unset it"
        )
    if any(word in words for word in ("entity", "project", "permission", "403", "404")):
        return (
            f"Weights & Biases refuses tracking.entity={config.entity or '(your own)'} with "
            f"tracking.project={config.project} ({said}): name a user or team that you belong to with --set "
            "tracking.entity=NAME, or log in as its member with `wandb login --relogin`"
        )
    return f"Weights & Biases at {server} cannot be used ({said})"


def start_run(
    mode: Mode, run: RunFolder, config: ESDConfig, manifest_hash: str, on_note: NoteListener
) -> tuple[Any, Mode]:
    """Start wandb's run, or go on with the one that the run's folder names.

    Args:
        mode: The wished mode.
        run: The run's folder; wandb's files go there too.
        config: All settings, which are logged too.
        manifest_hash: Of the store's manifest, which is logged too.
        on_note: Gets the run's address, or why it is logged offline.

    Returns:
        wandb's run, and its mode: offline too where ``auto`` was asked for and the server is not to be had.

    Raises:
        MissingResourceError: wandb cannot start, or not as was asked for.
    """
    import wandb

    identity_file = run.path / WANDB_ID_NAME
    kept = identity_file.read_text(encoding="utf-8").strip() if identity_file.is_file() else None
    # A run that a sweep's agent starts has its identity from it.
    identity = kept or os.environ.get("WANDB_RUN_ID") or secrets.token_hex(4)
    started: Any = None
    if mode == "online":
        try:
            started = _initialize(mode, run, config, manifest_hash, identity, is_new=kept is None)
            on_note(f"Weights & Biases: {started.url}")
        except (
            Exception
        ) as error:  # wandb raises its own errors, those of its service process, and those of files.
            refusal = refusal_of(error, config.tracking)
            for leftover in (run.path / "wandb").glob(f"run-*-{identity}"):
                shutil.rmtree(leftover, ignore_errors=True)
            if wandb.run is None:
                # Its service process still tries to start the run, and would refuse the same identity.
                wandb.teardown()
            if config.tracking.wandb == "online":
                raise MissingResourceError(f"{refusal}; or train without it by --wandb offline.") from error
            on_note(f"{refusal}. The run is logged offline.")
            mode = "offline"
    if started is None:
        try:
            started = _initialize(mode, run, config, manifest_hash, identity, is_new=True)
        except Exception as error:
            raise MissingResourceError(
                f"Weights & Biases could not be started ({error}); train without it by --wandb disabled."
            ) from error
    write_text(identity_file, started.id + "\n")
    started.define_metric("epoch")
    started.define_metric("*", step_metric="epoch")
    return started, mode


def sync_command(run: RunFolder, mode: Mode, identity: str) -> str:
    """Return the command that uploads what Weights & Biases lacks of a run."""
    if mode == "offline":
        return f"wandb sync {run.path}/wandb/offline-run-*-{identity}"
    return f"wandb sync --include-online {run.path}/wandb/run-*-{identity}"


def _initialize(
    mode: Mode, run: RunFolder, config: ESDConfig, manifest_hash: str, identity: str, *, is_new: bool
) -> Any:
    import wandb

    in_sweep = bool(os.environ.get("WANDB_SWEEP_ID"))
    return wandb.init(
        project=None if in_sweep else config.tracking.project,
        entity=None if in_sweep else config.tracking.entity,
        group=config.tracking.group,
        dir=run.path,
        id=None if in_sweep else identity,
        name=run.path.name,
        config={**plain_values(config), "manifest_hash": manifest_hash},
        mode=mode,
        # Offline there is nobody to ask whether the run exists: the same identity joins the parts when
        # they are uploaded.
        resume="allow" if mode == "online" and not is_new else None,
        # A run of the user's own that is open in this process stays as it is.
        reinit="create_new",
        settings=wandb.Settings(
            silent=True,
            console="off",
            disable_git=True,
            save_code=False,
            disable_job_creation=True,
            init_timeout=START_SECONDS,
            finish_timeout=FINISH_SECONDS,
            finish_timeout_raises=True,
            # An agent ends its run itself, by a signal; a second one would come in the middle of that.
            stop_fn=(lambda: None) if in_sweep else None,
        ),
    )
