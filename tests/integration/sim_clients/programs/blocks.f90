! The same as blocks.c, in Fortran: T(x, y) with ghost cells, in columns. Argument: whether it goes as it lies.

program blocks
  use, intrinsic :: iso_fortran_env, only: int64, real64
  use mpi
  use penstock
  implicit none

  integer, parameter :: nx = 10, ny = 7
  type(penstock_client) :: client
  real(real64), allocatable :: T(:, :)
  character(len=8) :: order
  integer :: rank, ranks, error, parts(2), at(2), first(2), last(2), step, i, j
  logical :: reversed

  call get_command_argument(1, order)
  reversed = order == "reversed"
  call mpi_init(error)
  call mpi_comm_rank(mpi_comm_world, rank, error)
  call mpi_comm_size(mpi_comm_world, ranks, error)
  parts = 0
  call mpi_dims_create(ranks, 2, parts, error)
  at = [rank/parts(2), mod(rank, parts(2))]
  first = [nx, ny]*at/parts
  last = [nx, ny]*(at + 1)/parts
  allocate(T(first(1):last(1) + 1, first(2):last(2) + 1))
  T = -huge(1.0_real64)

  call client%connect()
  call client%describe_field("T", units="K", dims="x y", shape=[nx, ny], offset=first, reversed=reversed)
  do step = 0, 10, 10
    do j = first(2) + 1, last(2)
      do i = first(1) + 1, last(1)
        T(i, j) = 1000*step + 100*(j - 1) + i - 1
      end do
    end do
    call client%put_snapshot(step, "T", T(first(1) + 1:last(1), first(2) + 1:last(2)), time=0.1_real64*step, &
                             reversed=reversed)
  end do
  call mpi_barrier(mpi_comm_world, error)
  if (rank == 0) call read_all()
  call client%end_stream()
  call client%close()
  call mpi_finalize(error)

contains

  subroutine read_all()
    real(real64) :: whole(nx, ny)
    integer(int64), allocatable :: shape(:), offset(:)
    integer :: position, x, y
    whole = 0
    do position = 0, client%announced() - 1
      call client%field_info(position, "T", shape=shape, offset=offset, reversed=reversed)
      x = int(offset(1))
      y = int(offset(2))
      ! Later positions overwrite earlier ones only where the step is greater: ranks put their steps in order.
      call client%get_snapshot(position, "T", whole(x + 1:x + shape(1), y + 1:y + shape(2)), reversed=reversed)
    end do
    do y = 1, ny
      do x = 1, nx
        if (whole(x, y) /= 10000 + 100*(y - 1) + x - 1) error stop "another value than was put"
      end do
    end do
    print "(i0, a)", client%announced(), " snapshots"
  end subroutine
end program
