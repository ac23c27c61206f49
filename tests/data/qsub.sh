#!/bin/sh
#PBS -N heat
#PBS -S /bin/sh
#PBS -l select=4:ncpus=64:ngpus=4:mpiprocs=64
#PBS -l place=scatter:excl
#PBS -l walltime=24:30:00
#PBS -r n
#PBS -V
#PBS -j oe
#PBS -o "/home/me/100% mine/pbs.log"
#PBS -q prod
#PBS -l filesystems=home
cd '/home/me/100% mine' || exit 1
export PENSTOCK_GPUS_PER_HOST=4
exec /env/bin/python -m orchestrator.cli run /home/me/heat '--set=title=two words' < /dev/null >> '/home/me/100% mine/batch.log' 2>&1
