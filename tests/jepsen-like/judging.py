"""Building the judge (judge/main.go): once, outside of any network namespace, for its module comes from Go's module proxy."""
import pathlib
import shutil
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
BUILD_S = 180


def build(program):
    """Puts the program there. None, or why it could not be built: Go, or the module, is missing on this machine."""
    if shutil.which('go') is None:
        return 'Porcupine: Go is not installed'
    program.parent.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(['go', 'build', '-buildvcs=false', '-o', str(program), '.'], cwd=HERE / 'judge',
                              capture_output=True, text=True, timeout=BUILD_S)
    except subprocess.TimeoutExpired:
        return f'Porcupine: the judge was not built: go build took more than {BUILD_S} s (is the module proxy reachable?)'
    if done.returncode == 0:
        return None
    said = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith('go: downloading')]
    return f'Porcupine: the judge was not built: {said[0] if said else "go build failed without a word"}'
