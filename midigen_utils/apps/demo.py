"""The whole road in one sitting: what `make demo` does."""

from .. import config, files
from ..config import MIDI_CONFIG, SEQUENCE_LENGTH
from ..data import load_corpus, load_piano_rolls
from ..show.export import write_music
from .compose import piece_to_begin_from


def walk():
    """Music of a trained model first; then corpus, training, generation and sound, with a model that knows nothing.

    Writes `midi_data/generated/pretrained.*`, `midi_data/demo/best_model.pt` and `midi_data/generated/demo.*`.
    """
    from ..learn import evaluate, fit, fit_baselines, load_model
    from ..models import MusicMamba, generate_from_random_seed, generate_music

    fs, folder = MIDI_CONFIG["fs"], files.MIDI_DATA / "generated"
    pianist = files.MIDI_DATA / "pretrained" / "mamba.pt"
    if pianist.exists():  # it comes with the clone, not with the package alone
        print("First, what longer training gives: a MusicMamba that was trained on performances of MAESTRO continues")
        print("4 s of random chords.")
        roll = generate_from_random_seed(load_model(pianist), 40 * fs, temperature=0.9, random_seed=0)
        write_music(roll, MIDI_CONFIG, folder / "pretrained", "The pretrained MusicMamba", SEQUENCE_LENGTH)
        print("Listen to it while a new one learns from nothing:\n")
    print("1 of 4  The corpus: Bach's chorales, from the scores that come with music21.")
    rolls, _ = load_piano_rolls(load_corpus("bach"))
    print("2 of 4  Training a MusicMamba to predict the next sixteenth of a second: one epoch.")
    baseline = evaluate(fit_baselines(rolls["train"])["Markov-1"], rolls["validation"])["nll"]
    print(f"        To beat: {baseline:.2f} nats per frame, by a table of how often each key stays or goes down.")
    config.seed_everything(0)
    fit(MusicMamba(), rolls, epochs=1, batch_size=32, learning_rate=3e-3, folder=files.MIDI_DATA / "demo")
    print("3 of 4  Composing 30 s from the first 4 s of a chorale that it was not trained on.")
    beginning, title = piece_to_begin_from(rolls, 0)
    model = load_model(files.MIDI_DATA / "demo" / "best_model.pt", config.pick_device())
    roll = generate_music(model, beginning[:SEQUENCE_LENGTH], 30 * fs, temperature=0.8, random_seed=0)
    print("4 of 4  Writing it as MIDI, sound, picture and page.")
    write_music(roll, MIDI_CONFIG, folder / "demo", title, SEQUENCE_LENGTH)
    print("\nNext: `make notebooks` opens them. `make data` downloads MAESTRO (58 MB), real piano performances;")
    print("`make train` trains on them for longer, and then sounds better than these first minutes of learning.")
