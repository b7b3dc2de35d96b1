"""Settings of the simulation: time step, solver, engine, capacities."""

from typing import Literal

import mujoco

from palestra.config.configclass import configclass


@configclass
class SimulationCfg:
    """How the scene is simulated. Field names follow MuJoCo's ``option`` where Isaac Lab has none."""

    device: str = "cpu"
    """``"cpu"`` or ``"cuda:0"``: the only switch between the engines."""

    dt: float = 1.0 / 120.0
    """Physics time step (s)."""

    gravity: tuple[float, float, float] = (0.0, 0.0, -9.81)
    """Gravity in the world frame (m/s²)."""

    threads: int | None = None
    """CPU threads shared by the engine and PyTorch; ``None`` takes all cores."""

    integrator: Literal["euler", "implicit", "implicitfast", "rk4"] = "implicitfast"
    """``implicitfast`` keeps servo damping stable at large steps."""

    cone: Literal["pyramidal", "elliptic"] = "pyramidal"
    """Friction cone; pyramidal is about 1.8 times as fast on a quadruped."""

    solver: Literal["newton", "cg"] = "newton"
    """Constraint solver."""

    iterations: int = 10
    """Most solver iterations a step; the solver stops early at ``tolerance``."""

    ls_iterations: int = 20
    """Most line-search iterations in a solver iteration."""

    tolerance: float = 1e-8
    """Solver stopping criterion (MuJoCo's scaled improvement)."""

    impratio: float = 1.0
    """Ratio of frictional to normal constraint impedance (elliptic cones)."""

    solver_early_exit: bool = True
    """CUDA, without ``fused_solver``: stop the solver's iterations once all environments have converged. Where one of
    thousands always needs all ``iterations``, asking costs more than it saves; the result is the same."""

    fused_solver: bool = True
    """CUDA: solve each environment's constraints from start to end in one kernel, where the model allows it (Newton, at
    most 31 degrees of freedom); ``False`` takes the engine's own kernels, one after another over all environments."""

    own_field_contacts: bool = True
    """Find contacts of spheres, capsules and boxes with height fields by distances to their triangles, on both engines;
    ``False`` leaves them to MuJoCo and MuJoCo Warp. The CPU's choice holds for the whole process."""

    nconmax: int | None = None
    """CUDA: contacts allocated per environment; ``None`` probes."""

    njmax: int | None = None
    """CUDA: constraint rows allocated per environment; ``None`` probes."""

    contact_sensor_maxmatch: int | None = None
    """CUDA: contacts that one contact sensor can match; ``None`` keeps the engine's default."""

    use_cuda_graph: bool = True
    """CUDA: run the substeps as one captured graph."""

    def apply_to(self, spec: mujoco.MjSpec) -> None:
        """Write the options into a spec before it is compiled."""
        option = spec.option
        option.timestep = self.dt
        option.gravity = list(self.gravity)
        option.integrator = getattr(mujoco.mjtIntegrator, f"mjINT_{self.integrator.upper()}")
        option.cone = getattr(mujoco.mjtCone, f"mjCONE_{self.cone.upper()}")
        option.solver = getattr(mujoco.mjtSolver, f"mjSOL_{self.solver.upper()}")
        option.iterations = self.iterations
        option.ls_iterations = self.ls_iterations
        option.tolerance = self.tolerance
        option.impratio = self.impratio
        # A diverged environment must stay visible until it is terminated, not silently jump to its default.
        option.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
