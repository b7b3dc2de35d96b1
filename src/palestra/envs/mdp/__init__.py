"""Terms of the managers: functions and classes that a task lists in its configuration.

Names and parameters are Isaac Lab's, so that ``from palestra.envs import mdp`` takes the place of its module.
"""

from palestra.envs.mdp.actions import *  # noqa: F403
from palestra.envs.mdp.adr import *  # noqa: F403
from palestra.envs.mdp.commands import *  # noqa: F403
from palestra.envs.mdp.curriculums import *  # noqa: F403
from palestra.envs.mdp.events import *  # noqa: F403
from palestra.envs.mdp.gait_terms import *  # noqa: F403
from palestra.envs.mdp.io import *  # noqa: F403
from palestra.envs.mdp.kinematics import *  # noqa: F403
from palestra.envs.mdp.observations import *  # noqa: F403
from palestra.envs.mdp.randomizations import *  # noqa: F403
from palestra.envs.mdp.reward_kernels import *  # noqa: F403
from palestra.envs.mdp.rewards import *  # noqa: F403
from palestra.envs.mdp.sensing import *  # noqa: F403
from palestra.envs.mdp.staged_curriculums import *  # noqa: F403
from palestra.envs.mdp.terminations import *  # noqa: F403
from palestra.envs.mdp.terrain_terms import *  # noqa: F403
