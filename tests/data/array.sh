#!/bin/sh
#SBATCH --job-name=heat
#SBATCH --array=0-99%10
#SBATCH --ntasks=4
#SBATCH --cpus-per-task=2
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=2
#SBATCH --gpus-per-task=1
#SBATCH --mem-per-cpu=1908
#SBATCH --exclusive
#SBATCH --time=1:00:00
#SBATCH --output="/home/me/100%% mine/elements/%a.txt"
#SBATCH --no-requeue
#SBATCH --partition=gpu
#SBATCH "--comment=two words"
cd '/home/me/100% mine' || exit 1
exec /env/bin/python -m orchestrator.element '/home/me/100% mine' 100
