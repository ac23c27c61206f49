#!/bin/sh
#SBATCH --job-name=heat
#SBATCH --nodes=4
#SBATCH --exclusive
#SBATCH --mem=0
#SBATCH --time=1:00:00
#SBATCH --output="/home/me/100%% mine/batch.log"
#SBATCH --no-requeue
#SBATCH --partition=gpu
#SBATCH "--comment=two words"
cd '/home/me/100% mine' || exit 1
exec /env/bin/python -m orchestrator.cli run /home/me/heat '--set=title=two words'
