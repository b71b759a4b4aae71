"""A copied template is what Hydra composes, value for value."""

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from lightning_d2l.config.compose import CONF
from lightning_d2l.sweeps.compose import Composer, write_hydra_files
from lightning_d2l.sweeps.grid import grid

GRIDS = [path for path in (CONF / "study").glob("*.yaml") if "interval(" not in path.read_text()]
SWEEPS = {
    "values": ["model=polynomial_regression", "data.degree=1,3,19", "optimizer.lr=0.1,1e-3", "seed=range(2)"],
    "options": ["model=mlp,polynomial_regression", "optimizer=sgd,adam", "data.seed=1,2"],
    "lists": ["data=polynomial", "model=mlp", "model.num_hiddens=64,[32,16],[8]", "model.dropout=0.5,0.2"],
    "null": ["data.n_train=null,100", "data.source='generated',auto"],
    "trees": ["model.init={name:normal,std:0.1},{name:zeros}", "model.init.bias_std=0.1,0.2", "+optimizer.x=1,2"],
    "a tree, then one of its leaves": ["model.init.name=zeros,normal", "model.init={name:xavier_normal}"],
    "a reference": ["data.seed=1,${seed}", "seed=3,4"],
    **{study: [f"study={study}"] for study in sorted(path.stem for path in GRIDS)},
}


@pytest.mark.parametrize("words", SWEEPS.values(), ids=SWEEPS)
def test_the_first_and_the_last_job_of_each_template_are_as_hydra_composes_them(words, tmp_path):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        master = compose("train", [w for w in words if w.startswith("study=")], return_hydra_config=True)
        axes = [f"{key}={value}" for key, value in (master.hydra.sweeper.params or {}).items()]
        jobs = grid([*axes, *words], loader).overrides
        composer = Composer(loader, master)
        chosen = {0, len(jobs) - 1}
        templates = 0
        for number, overrides in enumerate(jobs):
            composer.compose(overrides)
            if len(composer._templates) > templates:
                chosen |= {number, max(number - 1, 0)}
                templates = len(composer._templates)
        assert templates < len(jobs) or words[0].startswith(("model.init", "data.seed"))
        for number in sorted(chosen)[-12:]:
            ours, hydras = composer.compose(jobs[number]), loader.load_sweep_config(master, jobs[number])
            assert OmegaConf.to_container(ours) == OmegaConf.to_container(hydras)
            assert OmegaConf.to_yaml(ours) == OmegaConf.to_yaml(hydras)
        own = yaml.safe_load(OmegaConf.to_yaml(ours))
        del own["hydra"]
        write_hydra_files(tmp_path, ours, 7)
        assert yaml.safe_load((tmp_path / ".hydra/config.yaml").read_text()) == own
        hydra = yaml.safe_load((tmp_path / ".hydra/hydra.yaml").read_text())["hydra"]
        assert hydra["job"]["num"] == 7
        assert hydra["runtime"]["output_dir"] == str(tmp_path)
        assert yaml.safe_load((tmp_path / ".hydra/overrides.yaml").read_text()) == jobs[max(chosen)]
