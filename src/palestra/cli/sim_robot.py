"""``palestra sim-robot``: a simulated robot that is reached like a real one, by UDP."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palestra.cli.arguments import CommandParser, add_environment_flags, is_path, require_target
from palestra.errors import ConfigError

if TYPE_CHECKING:
    from palestra.deploy.sim_robot import RobotModel, SimulatedRobot

_FROM_TASK = "task"


def add_arguments(parser: CommandParser) -> None:
    """Declare the command's flags."""
    parser.target = "EXPORTED_OR_RUN_OR_TASK"
    add_environment_flags(parser)
    parser.add_argument("--checkpoint", help=argparse.SUPPRESS)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine alone)")
    parser.add_argument("--port", type=int, default=9000, help="UDP port (default: 9000; 0: a free one)")
    parser.add_argument("--rate", type=float, metavar="HZ", help="states a second (default: 500, or the physics' rate)")
    parser.add_argument("--latency_ms", type=float, default=0.0, metavar="MS", help="delay of each direction")
    parser.add_argument("--jitter_ms", type=float, default=0.0, metavar="MS", help="spread of the delay")
    parser.add_argument("--loss", type=float, default=0.0, metavar="SHARE", help="packets lost, in each direction")
    parser.add_argument("--sensor_noise", action="append", default=[], metavar="NAME=HALF_WIDTH|task", help="noise")
    parser.add_argument("--quantization", action="append", default=[], metavar="NAME=STEP", help="steps of readings")
    parser.add_argument("--physics_dt", type=float, metavar="S", help="physics step (default: the task's)")
    parser.add_argument("--command_timeout_ms", type=float, default=100.0, metavar="MS", help="silence until it brakes")
    parser.add_argument(
        "--harness", type=float, metavar="S", help="hang the base until S seconds after the first command to follow"
    )
    parser.add_argument("--lockstep", action="store_true", help="let time go on only as the client says")
    parser.add_argument("--speed", type=float, default=1.0, metavar="X", help="simulated seconds a second")
    parser.add_argument("--log", metavar="FILE", help="write what really happened (.npz) at the end")
    parser.add_argument("--video", metavar="FILE", help="film the robot (.mp4)")


def run(args: argparse.Namespace) -> int:
    """Build the robot, serve until Ctrl-C or SIGTERM, and write what was asked for."""
    target = require_target(args, "robot", "palestra sim-robot runs/x/exported --port 9000")
    for flag in ("log", "video"):
        path = getattr(args, flag)
        if path is not None and not Path(path).resolve().parent.is_dir():
            raise ConfigError(f"--{flag} {path}: the folder does not exist")

    from palestra.deploy.link import LinkSettings
    from palestra.deploy.sim_robot import NetworkedRobot, SensorErrors, SimulatedRobot
    from palestra.deploy.sim_server import READY, SimServer

    link = LinkSettings(args.latency_ms / 1e3, args.jitter_ms / 1e3, args.loss)
    model, scene, noise = _model(target, args)
    given = _table("--sensor_noise", [text for text in args.sensor_noise if text != _FROM_TASK])
    errors = SensorErrors(
        {**(noise if _FROM_TASK in args.sensor_noise else {}), **given}, _table("--quantization", args.quantization)
    )
    seed = args.seed or 0
    robot = SimulatedRobot(model, errors, args.command_timeout_ms / 1e3, args.physics_dt, seed, args.harness)
    rate = args.rate or min(500.0, 1.0 / robot.model.opt.timestep)
    server = SimServer(NetworkedRobot(robot, link, rate, seed), args.host, args.port, args.lockstep, args.speed)
    try:
        with contextlib.ExitStack() as stack:
            film = stack.enter_context(_film(args.video, robot, scene)) if args.video else None
            stack.enter_context(_until_asked(server))
            how = "lock-step" if args.lockstep else f"{args.speed:g} × real time"
            print(
                f"{target}: {len(model.joint_names)} joints, {rate:g} states/s, {how}; {READY} "
                f"udp://{server.address[0]}:{server.address[1]}",
                flush=True,
            )
            server.serve(film)
    finally:
        server.close()
    if args.log is not None:
        _write(Path(args.log), robot)
    commands, states = server.networked.commands, server.networked.states
    print(
        f"stopped after {robot.time:.2f} s: {commands.sent} commands ({commands.lost} lost), {states.sent} states "
        f"({states.lost} lost), {server.malformed} malformed packets"
        + ("" if args.lockstep else f", at most {1e3 * server.behind:.1f} ms behind")
    )
    return 0


def _model(target: str, args: argparse.Namespace) -> tuple[RobotModel, Any, dict[str, float]]:
    """Return the robot's model, the scene to draw, and the noise of the task's sensors."""
    from palestra.cli.configuration import find_trained, task_configs
    from palestra.config.registry import make
    from palestra.deploy.sim_robot import robot_model

    exported = Path(target) / "policy.json"
    task, run = target, None
    if exported.is_file():
        try:
            task = str(json.loads(exported.read_text())["task"])
        except (ValueError, KeyError) as error:
            raise ConfigError(f"{exported}: it names no task ({error})") from None
        target = str(Path(target).resolve().parent)
    if is_path(target) and (exported.is_file() is False or (Path(target) / "config.yaml").is_file()):
        trained = find_trained(target, args)
        task, run = trained.task, trained.run
    args.num_envs, args.device = 1, "cpu"
    configs = task_configs(task, args, run)
    env = make(configs.task, cfg=configs.env)
    try:
        model = robot_model(env)
        return model, env.scene, _noise_of(env)
    finally:
        env.close()


def _noise_of(env: Any) -> dict[str, float]:
    """Return the half widths of the uniform noise that the task's policy was trained with, by sensor."""
    sensors = {"joint_pos_rel": "joint_pos", "joint_pos": "joint_pos", "joint_vel_rel": "joint_vel"}
    sensors |= {"joint_vel": "joint_vel", "base_ang_vel": "base_ang_vel"}
    cfg, found = getattr(getattr(env.cfg, "observations", None), "policy", None), {}
    for term in vars(cfg).values() if cfg is not None else ():
        name = sensors.get(getattr(getattr(term, "func", None), "__name__", ""))
        width = getattr(getattr(term, "noise", None), "n_max", None)
        if name is not None and isinstance(width, int | float):
            found[name] = float(width)
    return found


def _table(flag: str, texts: list[str]) -> dict[str, float]:
    out = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            out[name] = float(number)
        except ValueError:
            raise ConfigError(f"{flag} is {text!r}; it must be NAME=number, such as joint_pos=0.01") from None
    return out


@contextlib.contextmanager
def _until_asked(server: Any):
    """Stop serving on Ctrl-C and SIGTERM."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: server.stop()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _film(path: str, robot: SimulatedRobot, scene: Any):
    """Return what takes a picture whenever one is due."""
    import imageio_ffmpeg
    import mujoco

    from palestra.view.offscreen import why_unavailable
    from palestra.view.visual_model import suit_driver, visual_model

    reason = why_unavailable()
    if reason is not None:
        raise ConfigError(f"--video: {reason}")
    model, fps = visual_model(scene), 25
    data, camera = mujoco.MjData(model), mujoco.MjvCamera()
    camera.distance, camera.elevation, camera.azimuth = 3.0, -15.0, 130.0
    writer = imageio_ffmpeg.write_frames(path, (640, 480), fps=fps)
    writer.send(None)
    with contextlib.closing(writer), mujoco.Renderer(model, 480, 640) as renderer:
        suit_driver(model, renderer.scene)
        due = robot.time

        def take() -> None:
            nonlocal due
            if robot.time < due:
                return
            due += 1.0 / fps
            data.qpos[:] = robot.data.qpos
            mujoco.mj_forward(model, data)
            camera.lookat[:] = robot.data.xpos[robot.root_body]
            renderer.update_scene(data, camera)
            writer.send(renderer.render().tobytes())

        yield take


def _write(path: Path, robot: SimulatedRobot) -> None:
    """Write the truth as a compressed file that appears whole."""
    import io

    import numpy as np

    from palestra.rl.checkpoint import write_atomically

    buffer = io.BytesIO()
    arrays = {"joint_names": np.array(robot.robot.joint_names), **robot.truth.arrays()}
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_atomically(path, buffer.getvalue())
    print(f"log         {path}")
